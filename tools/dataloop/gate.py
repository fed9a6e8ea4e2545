"""Dataloop's gate: every request that the tool makes of it, through dtlpy."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import quote

import dtlpy
import requests
from urllib3.exceptions import HTTPError

from tools.dataloop import transport
from tools.dataloop.errors import (
    ItemError,
    LoginError,
    TryLaterError,
    UnreachableError,
    UsageError,
)
from tools.dataloop.retries import Retries

WHO: Final = "the gate"
PAGE: Final = 100
MOST: Final = 1000
"""Of what a query answers at once: the gate gives no more."""

CHUNK: Final = 100
"""Annotations in one request: the gate takes no more."""

NO_HEADERS: Final[Mapping[str, str]] = {}
Json = Mapping[str, Any]  # Any: as JSON has it
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a dataset.

    Attributes:
        mimetype: Of its file, such as image/jpeg; empty: not known.
        size: Bytes of its file; None: not known.
    """

    id: str
    dataset_id: str
    name: str
    mimetype: str
    size: int | None


Target = Item | str
"""An item, or the id of one that is still to be asked for."""


class Gate:
    """Dataloop, asked from several threads.

    Args:
        client: dtlpy's API client, logged in. Any: dtlpy has no types.
        retries: For requests that fail for now.
    """

    def __init__(self, client: Any, retries: Retries) -> None:
        self._client = client
        # without the decorator, which reads the source of every frame on the stack: more work than
        # the request itself; the token's age, its other part, is checked in _once
        self._request = partial(type(client).gen_request.__wrapped__, client)
        self._retries = retries

    def check_login(self) -> None:
        """Ask who we are.

        Raises:
            LoginError: Nobody that the gate knows.
            UsageError: No gate answers.
        """
        try:
            self._retries_unless_unreachable(lambda: self._once("get", "/users/me"))
        except ItemError as error:
            raise UsageError(str(error)) from error

    def item(self, item_id: str) -> Item:
        """An item by its id.

        Raises:
            ItemError: There is none, or it may not be read.
        """
        return _item(self._ask("get", f"/items/{_quoted(item_id)}"))

    def items(self, dataset_id: str, conditions: Sequence[Json]) -> Iterator[list[Item]]:
        """The items of a dataset, page by page in the order of their ids.

        Raises:
            RefusedError: The gate does not take the conditions, or there is no such dataset.
        """
        last: list[Json] = []
        while True:
            page = self._query(dataset_id, "items", {"$and": [*conditions, *last]}, PAGE)
            items = [_item(each) for each in page.get("items", ())]
            yield items
            if not items or not page.get("hasNextPage"):
                return
            last = [{"id": {"$gt": items[-1].id}}]

    def count(self, dataset_id: str, conditions: Sequence[Json]) -> int:
        """How many items the conditions find."""
        page = self._query(dataset_id, "items", {"$and": list(conditions)}, 1)
        return int(page.get("totalItemsCount") or 0)

    def download(self, item: Item) -> bytes:
        """The file of an item, whole.

        Raises:
            ItemError: It can't be had.
        """
        return self._retries.call(lambda: self._download(item))

    def annotations(self, item: Item, model_name: str) -> list[Json]:
        """The annotations on an item that a model of this name made."""
        found: list[Json] = []
        after: list[Json] = []
        rooms = ("user", "system")
        made = [{f"metadata.{room}.model.name": model_name} for room in rooms]
        while True:
            chosen = {"$and": [{"itemId": item.id}, *after], "$or": made}
            page = self._query(item.dataset_id, "annotations", chosen, MOST)
            found += page.get("items", ())
            if not page.get("items") or not page.get("hasNextPage"):
                return found
            after = [{"id": {"$gt": found[-1]["id"]}}]

    def upload(self, item: Item, chunk: Sequence[Json]) -> list[Json]:
        """Put annotations on an item, at most `CHUNK`; those that the gate says it has put there.

        Raises:
            ItemError: The gate takes none of them.
        """
        path = f"/items/{_quoted(item.id)}/annotations"
        kept = self._ask("post", path, list(chunk))
        # a single one may come without its list
        return [each for each in (kept if isinstance(kept, list) else [kept]) if "id" in each]

    def delete(self, item: Item, annotation_ids: Sequence[str]) -> None:
        """Delete these annotations of an item."""
        for start in range(0, len(annotation_ids), CHUNK):
            chosen = dtlpy.Filters(
                resource=dtlpy.FiltersResource.ANNOTATION,
                field="annotationId",
                values=list(annotation_ids[start : start + CHUNK]),
                operator=dtlpy.FiltersOperations.IN,
            )
            chosen.pop(field="type")
            chosen.add(field="itemId", values=item.id)
            body = chosen.prepare(operation="delete")
            self._ask("post", f"/datasets/{_quoted(item.dataset_id)}/query", body)

    def labels(self, dataset_id: str) -> set[str]:
        """The labels of a dataset's recipe; nested ones as `a.b`."""
        return self._sdk(lambda: set(dtlpy.datasets.get(dataset_id=dataset_id).labels_flat_dict))

    def add_labels(self, dataset_id: str, labels: Sequence[str]) -> None:
        """Add labels to a dataset's recipe."""
        self._sdk(
            lambda: dtlpy.datasets.get(dataset_id=dataset_id).add_labels(label_list=list(labels))
        )

    def _query(self, dataset_id: str, resource: str, chosen: Json, size: int) -> Json:
        body = {
            "filter": chosen,
            "sort": {"id": "ascending"},
            "page": 0,
            "pageSize": size,
            "resource": resource,
        }
        found: Json = self._ask("post", f"/datasets/{_quoted(dataset_id)}/query", body)
        return found

    def _download(self, item: Item) -> bytes:
        # what dtlpy's own download sends: the file as it was uploaded
        headers = {"x-dl-sanitize": "0", "Range": "bytes=0-"}
        response = self._once("get", f"/items/{_quoted(item.id)}/stream", headers=headers)
        with response:
            try:  # raw: requests would read it 10 kB at a time
                data = bytes(response.raw.read(decode_content=True))
            except HTTPError as error:
                why = "the download broke off; the gate sent less than it said"
                raise TryLaterError(why) from error
        if item.size is not None and len(data) != item.size:
            raise TryLaterError(
                f"the download has {len(data):,} bytes, the item {item.size:,}: it is not whole"
            )
        return data

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        """The JSON of an answer. Any: as JSON has it."""
        response = self._retries.call(lambda: self._once(method, path, body))
        try:
            return response.json()
        except requests.JSONDecodeError as error:
            raise ItemError(f"{WHO} answers no JSON to {method.upper()} {path}") from error

    def _once(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> requests.Response:
        """One request; its answer if it is a success."""
        try:
            if self._client.token_expired():
                raise _expired()
            _, response = self._request(
                method, path, json_req=body, headers=headers, stream=bool(headers), log_error=False
            )
        except requests.RequestException as error:
            raise transport.broken(error, WHO) from error
        if not response.ok:
            raise _refusal(response)
        answer: requests.Response = response
        return answer

    def _sdk(self, call: Callable[[], Found]) -> Found:
        """What a call of dtlpy's that makes several requests returns."""

        def once() -> Found:
            try:
                return call()
            except requests.RequestException as error:
                raise transport.broken(error, WHO) from error
            except dtlpy.exceptions.TokenExpired as error:
                raise _expired() from error
            except dtlpy.exceptions.ExceptionMain as error:
                raise _told(int(error.status_code), str(error.message or "")) from error

        return self._retries.call(once)

    def _retries_unless_unreachable(self, call: Callable[[], Found]) -> Found:
        def once() -> Found:
            try:
                return call()
            except UnreachableError as error:
                raise UsageError(str(error)) from error

        return self._retries.call(once)


def _expired() -> LoginError:
    return LoginError("the login at Dataloop has expired; log in again and repeat the command")


def _refusal(response: requests.Response) -> ItemError:
    """An answer that is no success, in the gate's own words."""
    try:
        body = response.json()
    except requests.JSONDecodeError:
        body = None
    message = str(body.get("message") or "") if isinstance(body, dict) else ""
    return _told(response.status_code, message or response.reason, response.headers)


def _told(status: int, message: str, headers: Mapping[str, str] = NO_HEADERS) -> ItemError:
    if status == 401:
        raise LoginError(f"{WHO} answers 401: {message or 'it does not take the login'}")
    return transport.refused(status, WHO, message, headers.get("Retry-After"))


def _item(found: Any) -> Item:  # Any: as JSON has it
    try:
        system = (found.get("metadata") or {}).get("system") or {}
        size = system.get("size")
        return Item(
            id=found["id"],
            dataset_id=found["datasetId"],
            name=str(found.get("name") or found["id"]),
            mimetype=str(system.get("mimetype") or ""),
            size=size if isinstance(size, int) else None,
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ItemError(f"{WHO} answers what is no item: {str(found)[:80]}") from error


def _quoted(part: str) -> str:
    return quote(part, safe="")
