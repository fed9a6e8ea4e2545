"""The selection: which items a run is over, and which are left of it when it stopped."""

import json
from collections.abc import Iterator, Sequence
from itertools import islice

from tools.dataloop.arguments import Arguments
from tools.dataloop.errors import ItemError, UsageError
from tools.dataloop.gate import Gate, Json, Target


class Selection:
    """The items that a command line names.

    Args:
        arguments: The command line.
        gate: Where they are.
    """

    def __init__(self, arguments: Arguments, gate: Gate) -> None:
        self._arguments = arguments
        self._gate = gate
        self._conditions = _conditions(arguments)

    def count(self) -> int:
        """How many items there are.

        Raises:
            UsageError: They can't be listed: no such dataset, a filter that the gate does not take.
        """
        if not self._arguments.dataset_id:
            return len(self._arguments.item_ids)
        try:
            found = self._gate.count(self._arguments.dataset_id, self._conditions)
        except ItemError as error:
            raise UsageError(
                f"the items of dataset {self._arguments.dataset_id} can't be listed: {error}"
            ) from error
        return min(found, self._arguments.limit or found)

    def targets(self) -> Iterator[Target]:
        """The items, in the order of their ids or as they were named.

        Raises:
            ItemError: The gate failed to list them on.
        """
        if not self._arguments.dataset_id:
            return iter(self._arguments.item_ids)
        pages = self._gate.items(self._arguments.dataset_id, self._conditions)
        return islice((item for page in pages for item in page), self._arguments.limit)

    def rest(self, done: int, done_up_to: str | None) -> list[str]:
        """The command line over the items that come after one.

        Args:
            done: How many items are done.
            done_up_to: The id of the last of them; None: there is none.
        """
        given = list(self._arguments.given)
        if done_up_to is None:
            return given
        if not self._arguments.dataset_id:
            return ["--item-id", *self._arguments.item_ids[done:], *_without(given, "--item-id")]
        conditions = [*_own(self._arguments), {"id": {"$gt": done_up_to}}]
        query = {"$and": conditions} if len(conditions) > 1 else conditions[0]
        rest = [*_without(given, "--filter"), "--filter", json.dumps(query)]
        if self._arguments.limit:
            rest = [*_without(rest, "--limit"), "--limit", str(self._arguments.limit - done)]
        return rest

    def again(self, item_ids: Sequence[str]) -> list[str]:
        """The command line over these items only."""
        given = list(self._arguments.given)
        for flag in ("--item-id", "--dataset-id", "--filter", "--folder", "--limit"):
            given = _without(given, flag)
        return ["--item-id", *item_ids, *(each for each in given if each != "--unannotated")]


def _conditions(arguments: Arguments) -> list[Json]:
    """Dataloop's query: files that are not hidden, and what the flags ask for."""
    conditions: list[Json] = [{"hidden": False}, {"type": "file"}, *_own(arguments)]
    if arguments.folder:
        conditions.append({"filename": f"{arguments.folder.rstrip('/')}/**"})
    if arguments.unannotated:
        conditions.append({"annotated": False})
    return conditions


def _own(arguments: Arguments) -> list[Json]:
    """The conditions of `--filter`."""
    found = arguments.filter
    if set(found) == {"$and"} and isinstance(found["$and"], list):
        return list(found["$and"])
    return [found] if found else []


def _without(given: list[str], flag: str) -> list[str]:
    """A command line without a flag and its values."""
    kept, dropping = [], False
    for each in given:
        if each.startswith("-"):
            dropping = each == flag
            if dropping or each.startswith(f"{flag}="):
                continue
        if not dropping:
            kept.append(each)
    return kept
