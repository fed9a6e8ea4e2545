"""TLS handshakes: each with a guard from the moment that its connection is there."""

import asyncio
import os
import socket
import ssl
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Final, cast

UNTIL_READ: Final = 1e6
"""Seconds for a TLS connection to be closed: its guard sees to it, by what its client reads."""


class Guarding(asyncio.Protocol, ABC):
    """What stands behind a handshake; `connection_lost` says that it failed, too."""

    @abstractmethod
    def enter(self) -> bool:
        """Count the connection; whether it can be waited for."""

    @abstractmethod
    def shake_hands(self, handshake: asyncio.Task[None]) -> None:
        """The handshake begins; at its end, `connection_made` is called."""


class Handshakes:
    """Shakes hands over connections that are there already.

    An encrypting listener would say nothing of a connection whose handshake goes on or failed:
    such ones could be neither counted nor closed in favour of others.

    Args:
        context: The server's certificate and its key.
        timeout: Seconds for a handshake; then its connection is closed.
    """

    def __init__(self, context: ssl.SSLContext, timeout: float) -> None:
        self._context = context
        self._timeout = timeout
        self._running: set[asyncio.Task[None]] = set()

    def begin(self, transport: asyncio.Transport, guard: Guarding) -> None:
        """Take over a plain connection that was just made."""
        copy = _copy(transport) if guard.enter() else None
        if copy:
            task = asyncio.create_task(self._shake(copy, guard), name="TLS handshake")
            guard.shake_hands(task)
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        else:
            guard.connection_lost(None)
        transport.abort()  # the connection lives on in its copy

    async def _shake(self, connection: socket.socket, guard: Guarding) -> None:
        with suppress(OSError):  # what TLS has against it, too
            try:
                await asyncio.get_running_loop().connect_accepted_socket(
                    lambda: guard,
                    connection,
                    ssl=self._context,
                    ssl_handshake_timeout=self._timeout,
                    ssl_shutdown_timeout=UNTIL_READ,
                )
            except BaseException:
                guard.connection_lost(None)
                raise


class Arrival(asyncio.Protocol):
    """A connection that is there, before its handshake."""

    def __init__(self, handshakes: Handshakes, guard: Guarding) -> None:
        self._handshakes = handshakes
        self._guard = guard

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Leave it to the handshakes."""
        self._handshakes.begin(cast(asyncio.Transport, transport), self._guard)


def _copy(transport: asyncio.Transport) -> socket.socket | None:
    """The connection once more; None if no more files can be opened."""
    try:
        return socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
    except OSError:
        return None
