"""What clients were told by a server that is killed, and what may therefore be there."""

import math
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import count

from tools.stage import Result, number_of


class Fate(Enum):
    """What must have become of a result."""

    KEPT = "it must be there"
    GONE = "it must not be there"
    EITHER = "its deletion was asked for, and not answered"


@dataclass
class Item:
    """A result, or an accepted image, that a client was told of.

    Attributes:
        number: Of its image.
        asked: When its client asked, and `told`: when it had the answer.
        result: As it was given to a client; it may never change.
        deletion: What deleting this one led to.
    """

    number: int
    asked: float
    told: float
    result: Result | None = None
    deletion: Fate = Fate.KEPT


@dataclass
class Clearing:
    """A deletion of all: when it was asked for, when that was over, and whether it was answered."""

    asked: float
    over: float = math.inf
    answered: bool = False


@dataclass
class Told:
    """What clients were told.

    Attributes:
        items: By their request ids.
        clearings: Every deletion of all.
        odd: Replies that no client should get.
        numbers: Of the images that are still to be sent.
    """

    items: dict[str, Item] = field(default_factory=dict)
    clearings: list[Clearing] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: count(10))

    def of(self, fate: Fate) -> set[str]:
        """The request ids whose fate that is."""
        return {key for key in self.items if self.fate(key) is fate}

    def fate(self, key: str) -> Fate:
        """What must have become of one."""
        item = self.items[key]
        fates = {item.deletion, *(_fate(item, each) for each in self.clearings)}
        return next(fate for fate in (Fate.GONE, Fate.EITHER, Fate.KEPT) if fate in fates)

    def summary(self) -> str:
        """How much it is, for people."""
        fates = Counter(map(self.fate, self.items))
        return (
            f"{len(self.items)} results or receipts, of which {fates[Fate.KEPT]} must be there,"
            f" {fates[Fate.GONE]} must not, {fates[Fate.EITHER]} may be;"
            f" all were deleted {sum(each.answered for each in self.clearings)} times"
        )

    def missing(self, there: Collection[str]) -> list[str]:
        """What is wrong with the request ids that are there, while clients go on."""
        gone, kept = self.of(Fate.GONE), self.of(Fate.KEPT)
        lost = {key for key in kept.difference(there) if self.fate(key) is Fate.KEPT}
        return [f"{key} was deleted, and is there again" for key in gone.intersection(there)] + [
            f"{key} (image {self.items[key].number}) is gone" for key in lost
        ]

    def losses(self, results: Mapping[str, Result]) -> list[str]:
        """What does not hold, given all results, once the clients have left."""
        lost = self.odd + self.missing(results)
        for key, result in results.items():
            item = self.items.get(key)
            if result["status"] != "Success":
                lost.append(f"{key} ended badly: {result}")
            elif result["response"]["label"] != str(number_of(result)):
                lost.append(f"{key} has the answer of another image")
            elif item and (item.number != number_of(result) or item.result not in (None, result)):
                lost.append(f"{key} was told as {item}; now it is {result}")
        return lost


def _fate(item: Item, clearing: Clearing) -> Fate:
    if item.asked > clearing.over:
        return Fate.KEPT
    return Fate.GONE if clearing.answered and item.told < clearing.asked else Fate.EITHER


def moment() -> float:
    """Now, for what is told."""
    return time.monotonic()
