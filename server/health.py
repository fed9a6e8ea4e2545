"""The server's health: whether it should get traffic, and if not, why."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Final

from server.errors import NotReadyError


class Phase(Enum):
    """Where the server is in its life; the value is what a client is told."""

    STARTING = "The server is starting: its model is being loaded. Try again in a moment."
    RESTORING = "The server is starting: its results are being restored from the backup. Try again."
    READY = "ready"
    DRAINING = "The server is shutting down. Send the request to another one, or later."


class Health:
    """Which phase the server is in, and how many requests it is answering. Begins as starting.

    Attributes:
        phase: Where the server is in its life.
        obstacle: Tells what stands against serving well, if anything does.
    """

    def __init__(self) -> None:
        self.phase = Phase.STARTING
        self.obstacle: Callable[[], str | None] = lambda: None
        self._since: Final = time.monotonic()
        self._answering = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def ready(self) -> bool:
        """Whether this server should get traffic."""
        return self.phase is Phase.READY and not self.obstacle()

    @property
    def uptime(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._since

    def require_ready(self) -> None:
        """Refuse work that this server would not do.

        Raises:
            NotReadyError: The server is starting or draining.
        """
        if self.phase is not Phase.READY:
            raise NotReadyError(self.phase.value, retry_after=1)

    def require_healthy(self) -> None:
        """Refuse traffic that this server takes, but would not serve well.

        Raises:
            NotReadyError: It is starting, draining, or its workers are lost time and again.
        """
        self.require_ready()
        if obstacle := self.obstacle():
            raise NotReadyError(obstacle, retry_after=5)

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
