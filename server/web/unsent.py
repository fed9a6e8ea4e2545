"""What a client has not read yet: whether it goes on reading, and the end if it does not."""

import asyncio
import socket
import struct
import sys
from contextlib import suppress
from typing import Final

WRITE_PROGRESS: Final = 2**16
"""Bytes that count as progress when a client reads a long answer slowly."""

_ACKNOWLEDGED: Final = slice(120, 128)
"""Where Linux's `struct tcp_info` has the number of bytes that the other side has acknowledged."""

_RESET: Final = struct.pack("ii", 1, 0)
"""A linger time of nothing: closing drops what the kernel holds for a client that won't take it."""


class Unsent:
    """What waits to be sent over a connection.

    Args:
        transport: The connection.
        timeout: Seconds in which the client must take `WRITE_PROGRESS` of it.
    """

    __slots__ = ("_amount", "_since", "_timeout", "_transport")

    def __init__(self, transport: asyncio.Transport, timeout: float) -> None:
        self._transport = transport
        self._timeout = timeout
        self._amount = 0
        self._since: float | None = None

    @property
    def is_watched(self) -> bool:
        """Whether the client's time runs."""
        return self._since is not None

    def watch(self, now: float) -> None:
        """Let the client's time run."""
        self._amount, self._since = self._count(), now

    def unwatch(self) -> None:
        """The client took most of it."""
        self._since = None

    def drop_if_overdue(self, now: float) -> bool:
        """Cut the connection off if its client took too little for too long; whether it did."""
        if self._count() <= self._amount - WRITE_PROGRESS:
            self.watch(now)
        elif self._since is not None and now - self._since > self._timeout:
            self._drop()
            return True
        return False

    def _count(self) -> int:
        """Falls by what the client takes.

        A TLS transport does not count what it has encrypted: there, the kernel is asked.
        """
        raw = self._transport.get_extra_info("socket")  # None once the client has left
        encrypted = self._transport.get_extra_info("sslcontext")
        if raw and encrypted and hasattr(socket, "TCP_INFO"):
            with suppress(OSError):  # the client was quicker
                told = raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKNOWLEDGED.stop)
                return -int.from_bytes(told[_ACKNOWLEDGED], sys.byteorder)
        return self._transport.get_write_buffer_size()

    def _drop(self) -> None:
        if raw := self._transport.get_extra_info("socket"):
            with suppress(OSError):  # the client was quicker
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()
