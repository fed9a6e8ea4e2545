"""The parameters of requests: each parsed once, each with its sentence when it is wrong."""

import base64
import hashlib
import re
import struct
import uuid
from datetime import UTC, datetime, timedelta
from typing import Final

from multidict import MultiMapping

from server.errors import InvalidParameterError, MalformedIdError
from server.prediction import Status
from server.store import Cursor, IdempotencyKey, Query, Upload

MAX_LIMIT: Final = 1000
MAX_KEY: Final = 255
MAX_WAIT: Final = 60
_TRUE: Final = frozenset({"true", "1", "yes", "on"})
_FALSE: Final = frozenset({"false", "0", "no", "off", ""})
FLAGS: Final = (*sorted(_TRUE | _FALSE), "True", "False")
"""The usual spellings of a flag; any other case will do."""

_UUID: Final = re.compile(r"[0-9A-Fa-f]{32}|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_LIMIT: Final = re.compile(r"[1-9][0-9]{0,3}")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR: Final = struct.Struct(">qq")
CURSOR_PATTERN: Final = "^[A-Za-z0-9_-]{21}[AQgw]$"
"""A cursor is 16 bytes in URL-safe base64 without its padding."""


def request_id(text: str) -> str:
    """A request id in its usual form.

    Raises:
        MalformedIdError: It is no UUID.
    """
    if _UUID.fullmatch(text):
        return str(uuid.UUID(text))
    raise MalformedIdError(
        "A request id is a UUID such as 123e4567-e89b-42d3-a456-426614174000;"
        " /predict and /asyncPredict answer it."
    )


def boolean(name: str, text: str) -> bool:
    """A flag, in any usual spelling."""
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise InvalidParameterError(f"{name} must be true or false, not {text[:40]!r}.")


def query(values: MultiMapping[str]) -> tuple[Query, bool]:
    """Which results a list is asked for, and whether all of them (no `limit`).

    Raises:
        InvalidParameterError: A value is not accepted.
    """
    parsed = Query(
        limit=_limit(values.get("limit", str(MAX_LIMIT))),
        status=_status(values["status"]) if "status" in values else None,
        since=_since(values["since"]) if "since" in values else None,
        before=_cursor(values["cursor"]) if "cursor" in values else None,
    )
    return parsed, "limit" not in values


def idempotency_key(path: str, headers: MultiMapping[str], upload: Upload) -> IdempotencyKey | None:
    """The request's Idempotency-Key, which counts for its path, with what the request holds.

    Raises:
        InvalidParameterError: It is empty, too long or not printable.
    """
    keys = headers.getall("Idempotency-Key", [])
    if not keys:
        return None
    key = ", ".join(keys)
    if len(keys) > 1 or not (0 < len(key) <= MAX_KEY and key.isascii() and key.isprintable()):
        raise InvalidParameterError(
            f"Idempotency-Key must be 1 to {MAX_KEY} printable ASCII characters, such as a UUID."
        )
    fingerprint = hashlib.sha256(bytes([upload.save_locally]) + upload.data).digest()
    return IdempotencyKey(f"{path} {key}", fingerprint)


def prefers_async(headers: MultiMapping[str]) -> bool:
    """Whether the client asks for `Prefer: respond-async` (RFC 7240)."""
    return "respond-async" in _preferences(headers)


def preferred_wait(headers: MultiMapping[str]) -> int:
    """The seconds of `Prefer: wait=N` (RFC 7240), `MAX_WAIT` at most; 0 where it asks for none."""
    seconds = _preferences(headers).get("wait", "")
    return min(int(seconds[:9]), MAX_WAIT) if seconds.isascii() and seconds.isdigit() else 0


def _preferences(headers: MultiMapping[str]) -> dict[str, str]:
    """Preferences by name; a preference that can't be read is left out, as the RFC says."""
    found: dict[str, str] = {}
    for preference in ",".join(headers.getall("Prefer", [])).split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        found.setdefault(name.strip().lower(), value.strip().strip('"'))
    return found


def cursor(place: Cursor) -> str:
    """A place in the list of results, as clients hand it back."""
    return base64.urlsafe_b64encode(_CURSOR.pack(*place)).decode().rstrip("=")


def _cursor(text: str) -> Cursor:
    if re.fullmatch(CURSOR_PATTERN, text):
        return Cursor(*_CURSOR.unpack(base64.urlsafe_b64decode(text + "==")))
    raise InvalidParameterError(
        "cursor must be one that this server gave, in the Link header of the page before."
    )


def _limit(text: str) -> int:
    if _LIMIT.fullmatch(text) and int(text) <= MAX_LIMIT:
        return int(text)
    raise InvalidParameterError(f"limit must be a whole number from 1 to {MAX_LIMIT}.")


def _status(text: str) -> Status:
    try:
        return Status(text.capitalize())
    except ValueError:
        raise InvalidParameterError(f"status must be one of {', '.join(Status)}.") from None


def _since(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (moment - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        raise InvalidParameterError("since must be a time such as 2026-01-31T12:00:00Z.") from None
