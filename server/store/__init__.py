"""Where predictions are kept: the protocol that the service speaks, whatever the database."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from server.prediction import Prediction, Status


@dataclass(frozen=True, slots=True)
class Upload:
    """An image as its client sent it.

    Attributes:
        data: The file's bytes, undecoded.
        name: The client's file name: data to show, never a path.
        save_locally: The client asked that the server keeps the file beside the result.
    """

    data: bytes
    name: str
    save_locally: bool = False


class Cursor(NamedTuple):
    """A place in the list of results: the last one seen."""

    created_at: int
    seq: int


@dataclass(frozen=True, slots=True)
class Query:
    """Which results to list, newest first.

    Attributes:
        limit: At most so many.
        status: Only those of this status.
        since: Only those created at or after, in milliseconds since the epoch.
        before: Only those that come after this place in the list.
    """

    limit: int
    status: Status | None = None
    since: int | None = None
    before: Cursor | None = None


class Page(NamedTuple):
    """Some results, newest first, and where the next page begins (None: there is none)."""

    predictions: list[Prediction]
    after: Cursor | None


class Pending(NamedTuple):
    """An accepted prediction that waits to be run."""

    seq: int
    request_id: str


class Store(Protocol):
    """Keeps predictions. What a method did is on disk when it returns.

    Raises:
        StorageFullError: From every method that writes, when the disk has no room.
    """

    async def add(self, prediction: Prediction, upload: Upload | None = None) -> None:
        """Record a new prediction, with the upload it will be run on if it is Pending."""

    async def finish(self, prediction: Prediction) -> bool:
        """Replace a Pending prediction by its finished form and drop its upload.

        Returns:
            False if there is none any more: deleted, or finished already.
        """

    async def get(self, request_id: str) -> Prediction | None:
        """The prediction of that id."""

    async def page(self, query: Query) -> Page:
        """The newest results that match."""

    async def pending(self, after: int, limit: int) -> list[Pending]:
        """Accepted predictions in the order of their acceptance, from `after` (a `seq`) on."""

    async def upload(self, request_id: str) -> tuple[Prediction, Upload] | None:
        """A Pending prediction and the upload it waits to be run on."""

    async def delete(self, request_id: str) -> bool:
        """Delete a prediction. False if there is none."""

    async def delete_all(self) -> int:
        """Delete every prediction; how many there were."""

    async def counts(self) -> Mapping[Status, int]:
        """How many predictions have each status."""

    async def close(self) -> None:
        """Finish what is being written and release the database."""
