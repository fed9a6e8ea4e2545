"""The server's health: whether it should get traffic, and if not, why."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Final

from server.errors import NotReadyError


class Phase(Enum):
    """Where the server is in its life; the value is what a client is told."""

    STARTING = "The server is starting: its model is being loaded. Try again in a moment."
    READY = "ready"
    DRAINING = "The server is shutting down. Send the request to another one, or later."


class Health:
    """Which phase the server is in, and how many requests it is answering. Begins as starting."""

    def __init__(self) -> None:
        self.phase = Phase.STARTING
        self._since: Final = time.monotonic()
        self._answering = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def ready(self) -> bool:
        """Whether predicts are taken."""
        return self.phase is Phase.READY

    @property
    def uptime(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._since

    def require_ready(self) -> None:
        """Refuse work that this server would not do.

        Raises:
            NotReadyError: The server is starting or draining.
        """
        if not self.ready:
            raise NotReadyError(self.phase.value, retry_after=1)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Count a request while it is being answered."""
        self._answering += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._answering -= 1
            if not self._answering:
                self._idle.set()

    async def idle(self) -> None:
        """Wait until no request is being answered."""
        await self._idle.wait()
