"""The lines of a backup: each a result, a deletion or a clearing, as JSON.

SQLite writes them, so that a million cost seconds and no other thread waits for the interpreter;
`parse` reads them. A result is the one that clients get, with times to the millisecond.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import orjson

from server.errors import BackupUnusableError
from server.prediction import TRANSITIONS, Prediction, Status, Timings

_TIME = "strftime('%Y-%m-%dT%H:%M:%fZ', {} / 1000.0, 'unixepoch')"

RESULT: Final = f"""
json_object(
    'request_id', predictions.request_id, 'status', predictions.status,
    'response', json(CAST(predictions.response AS TEXT)),
    'createdAt', {_TIME.format("predictions.created_at")},
    'completedAt', {_TIME.format("predictions.completed_at")},
    'error', predictions.error, 'model', predictions.model,
    'timings', iif(predictions.queued_ms IS NULL, NULL, json_object(
        'queued', predictions.queued_ms, 'decode', predictions.decode_ms,
        'predict', predictions.predict_ms))
)"""

DELETION: Final = f"""
json_object('deleted', tombstones.request_id, 'at', {_TIME.format("tombstones.deleted_at")})"""

CLEARING: Final = f"json_object('cleared', {_TIME.format('clearing.cleared_at')})"

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FINISHED: Final = {str(status) for status, following in TRANSITIONS.items() if not following}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Deletion(NamedTuple):
    """A result was deleted, at a time in milliseconds since the epoch."""

    request_id: str
    deleted_at: int


class Clearing(NamedTuple):
    """All results completed up to a time were deleted."""

    cleared_at: int


def parse(line: bytes) -> Prediction | Deletion | Clearing:
    """What a line says.

    Raises:
        BackupUnusableError: It is none that `RESULT`, `DELETION` or `CLEARING` writes.
    """
    try:
        record = orjson.loads(line)
        if "request_id" in record:
            return _result(record)
        if "deleted" in record:
            return Deletion(_request_id(record["deleted"]), _milliseconds(record["at"]))
        return Clearing(_milliseconds(record["cleared"]))
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise BackupUnusableError(
            f"The backup holds a line that is no result ({type(error).__name__}:"
            f" {str(error)[:100]}): {line[:100].decode(errors='replace')}"
        ) from None


def _result(record: dict[str, Any]) -> Prediction:  # Any: as JSON has it, checked here
    if record["status"] not in _FINISHED:
        raise ValueError("its status is not that of a finished result")
    return Prediction(
        request_id=_request_id(record["request_id"]),
        status=Status(record["status"]),
        created_at=_milliseconds(record["createdAt"]),
        response=orjson.dumps(record["response"]),
        error=_text(record["error"]),
        completed_at=_milliseconds(record["completedAt"]),
        model=_text(record["model"]),
        timings=_timings(record["timings"]),
    )


def _request_id(value: str) -> str:
    if not _UUID.fullmatch(value):
        raise ValueError("its request id is no UUID")
    return value


def _timings(value: dict[str, Any] | None) -> Timings | None:  # Any: as JSON has it, checked here
    if value is None:
        return None
    times = [value[key] for key in Timings.__slots__]
    if not all(type(each) in {int, float} for each in times):
        raise TypeError("a number is expected")
    return Timings(*map(float, times))


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise TypeError("text is expected")


def _milliseconds(value: str) -> int:
    moment = datetime.fromisoformat(value)
    return (moment - _EPOCH) // timedelta(milliseconds=1)
