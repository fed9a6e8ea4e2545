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


class Accepted(NamedTuple):
    """An accepted prediction with what it is run on, and how many runs of it were lost."""

    prediction: Prediction
    upload: Upload
    attempts: int


class IdempotencyKey(NamedTuple):
    """A client's word for "this is the same request": the key, and what the request holds."""

    value: str
    fingerprint: bytes


class Limits(NamedTuple):
    """Which finished results are too old to be kept.

    Attributes:
        before: Those created before, in milliseconds since the epoch.
        beyond: Those after so many newest ones.
    """

    before: int | None
    beyond: int | None


class Store(Protocol):
    """Keeps predictions. What a method did is on disk when it returns.

    Raises:
        StorageFullError: From every method that writes, when the disk has no room.

    Attributes:
        suspects_end: If the server before this one ended badly, the last `seq` it gave: what is
            Pending up to there may be why. Else 0.
    """

    suspects_end: int

    async def add(
        self,
        prediction: Prediction,
        upload: Upload | None = None,
        key: IdempotencyKey | None = None,
    ) -> None:
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

    async def accepted(self, request_id: str) -> Accepted | None:
        """A Pending prediction with the upload it waits to be run on."""

    async def count_attempt(self, request_id: str, change: int = 1) -> int:
        """Count a run that is about to be, or was, lost; how many there are now."""

    async def by_key(self, key: str, since: int) -> tuple[bytes, Prediction] | None:
        """The fingerprint and the prediction recorded under an idempotency key since a time."""

    async def delete(self, request_id: str) -> Status | None:
        """Delete a prediction; the status it had, None if there is none."""

    async def delete_all(self) -> tuple[int, int]:
        """Delete every prediction; how many there were, and how many of them were Pending."""

    async def expire(self, limits: Limits, most: int) -> list[str]:
        """Delete the oldest of the finished results that are not to be kept, at most so many.

        Returns:
            Their request ids.
        """

    async def expire_keys(self, before: int) -> None:
        """Forget the idempotency keys used before a time."""

    async def oldest_pending(self) -> int | None:
        """When the prediction that waits longest was created."""

    async def counts(self) -> Mapping[Status, int]:
        """How many predictions have each status."""

    async def close(self) -> None:
        """Finish what is being written and release the database."""
