"""A prediction: the record of one request, its statuses, and the table of what may follow what."""

import secrets
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

import orjson


class Status(StrEnum):
    """What a client reads in a prediction's `status`."""

    PENDING = "Pending"
    SUCCESS = "Success"
    FAIL = "Fail"


TRANSITIONS: Final[Mapping[Status, frozenset[Status]]] = {
    Status.PENDING: frozenset({Status.SUCCESS, Status.FAIL}),
    Status.SUCCESS: frozenset(),
    Status.FAIL: frozenset(),
}
"""The state machine: each status and those that may follow it. A blocking predict is recorded
once, in its last status; an accepted one begins as Pending. The store guards its updates by it."""


class TransitionError(RuntimeError):
    """A prediction was asked to take a status that may not follow its own."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Where a prediction's time went, in milliseconds."""

    queued: float
    decode: float
    predict: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """One request and what became of it.

    Attributes:
        request_id: A UUID.
        created_at: When it was received, in milliseconds since the epoch.
        response: What stands under `response`, as JSON: the answer of a Success, the sentence of
            a Fail, null while Pending.
        error: The stable code of a Fail (`server.errors`).
        completed_at: When it left Pending, in milliseconds since the epoch.
        model: Name of the model that answered, with its version.
    """

    request_id: str
    status: Status
    created_at: int
    response: bytes = b"null"
    error: str | None = None
    completed_at: int | None = None
    model: str | None = None
    timings: Timings | None = None

    def succeeded(self, response: bytes, model: str | None, timings: Timings) -> "Prediction":
        """This prediction with the model's answer, a JSON object."""
        return self._finished(Status.SUCCESS, response, None, model, timings)

    def failed(
        self, error: str, sentence: str, model: str | None = None, timings: Timings | None = None
    ) -> "Prediction":
        """This prediction as a failure: its stable code and a sentence for the client."""
        return self._finished(Status.FAIL, orjson.dumps(sentence), error, model, timings)

    def _finished(
        self,
        status: Status,
        response: bytes,
        error: str | None,
        model: str | None,
        timings: Timings | None,
    ) -> "Prediction":
        if status not in TRANSITIONS[self.status]:
            raise TransitionError(f"{self.request_id} is {self.status}; it can't become {status}")
        return replace(
            self,
            status=status,
            response=response,
            error=error,
            model=model,
            timings=timings,
            completed_at=max(now(), self.created_at),
        )

    def to_json(self) -> bytes:
        """The result as clients and backups read it."""
        record: dict[str, object] = {
            "request_id": self.request_id,
            "status": self.status,
            "response": orjson.Fragment(self.response),
            "createdAt": timestamp(self.created_at),
        }
        if self.error:
            record["error"] = self.error
        if self.completed_at is not None:
            record["completedAt"] = timestamp(self.completed_at)
        if self.model:
            record["model"] = self.model
        if self.timings:
            record["timings"] = self.timings
        return orjson.dumps(record)


def accepted() -> Prediction:
    """A new prediction: Pending, under an id of its own."""
    created_at = now()
    return Prediction(str(_uuid7(created_at)), Status.PENDING, created_at)


def _uuid7(milliseconds: int) -> uuid.UUID:
    """A random id that sorts by its time (RFC 9562): an index of such ids grows at its end only."""
    number = milliseconds << 80 | secrets.randbits(80)
    return uuid.UUID(int=number & ~(0xF << 76 | 0x3 << 62) | 0x7 << 76 | 0x2 << 62)


def now() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def timestamp(milliseconds: int) -> str:
    """A time as the wire shows it: `YYYY-MM-DDTHH:MM:SSZ`."""
    return f"{datetime.fromtimestamp(milliseconds // 1000, UTC):%Y-%m-%dT%H:%M:%S}Z"
