"""Retention: deletes finished results that are too old, or too many, and keys that are stale."""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from server.errors import StorageFullError
from server.prediction import now
from server.store import Limits, Store

PAUSE_SECONDS: Final = 60.0
UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
AT_ONCE: Final = 500
"""Results deleted in one transaction: what waits for the writer meanwhile waits a moment."""


@dataclass(frozen=True, slots=True)
class Keep:
    """What is kept: results up to an age in seconds, and so many of them; None: without end."""

    seconds: int | None = None
    count: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Keep":
        """What `30d`, `100000`, `30d,100000` or `all` says.

        Raises:
            ValueError: It says none of these.
        """
        limits: dict[str, int] = {}
        for part in text.split(",") if text != "all" else ():
            match = re.fullmatch(r"\s*([1-9][0-9]{0,8})([smhd]?)\s*", part, re.ASCII)
            name = "seconds" if match and match[2] else "count"
            if not match or name in limits:
                raise ValueError("write an age such as 30d or 12h, a count, or both: 30d,100000")
            limits[name] = int(match[1]) * UNITS.get(match[2], 1)
        return cls(**limits)


class Retention:
    """Keeps the store to its limits, again and again.

    Args:
        store: Where predictions are kept.
        keep: Which finished results are kept; those that are Pending always are.
        key_retention_ms: Milliseconds that idempotency keys are kept.
        forget: Deletes what else is kept of a request id: its saved image.
    """

    def __init__(
        self,
        store: Store,
        keep: Keep,
        key_retention_ms: int,
        forget: Callable[[str], Awaitable[None]],
    ) -> None:
        self._store = store
        self._keep = keep
        self._key_retention_ms = key_retention_ms
        self._forget = forget

    async def run(self) -> None:
        """Delete what is due, now and every minute, until cancelled."""
        while True:
            with contextlib.suppress(StorageFullError):  # it takes no deletions either: try again
                await self._expire()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _expire(self) -> None:
        await self._store.expire_keys(now() - self._key_retention_ms)
        seconds, count = self._keep.seconds, self._keep.count
        if seconds is None and count is None:
            return
        before = None if seconds is None else now() - int(seconds * 1000)
        while expired := await self._store.expire(Limits(before, count), AT_ONCE):
            for request_id in expired:
                await self._forget(request_id)
