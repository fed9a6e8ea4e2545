"""Connections: how many may be open, and how long a client may keep one without doing its part."""

import asyncio
import logging
import socket
import struct
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from typing import Final, cast

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from server.errors import SlowHeadError, TooManyConnectionsError
from server.health import Phase
from server.web.keys import HEALTH
from server.web.protocol import raw

log = logging.getLogger(__name__)

LINGER_SECONDS: Final = 10.0
"""How long what a refused client still sends is read, so that it gets to read its reply.

Closing while it sends would reset the connection, and many clients would never see the reply.
"""

LINGER_PAUSE: Final = 2.0
"""Seconds without a byte after which a refused client is no longer waited for."""

LINGER_BYTES: Final = 2**29
"""Most bytes read from a refused client."""

MAX_REFUSED: Final = 100
"""Connections over the cap that are waited for at once; further ones are closed at once."""

WRITE_PROGRESS: Final = 2**16
"""Bytes that count as progress when a client reads a long answer slowly."""

_ACKNOWLEDGED: Final = slice(120, 128)
"""Where Linux's `struct tcp_info` has the number of bytes that the other side has acknowledged."""

_RESET: Final = struct.pack("ii", 1, 0)
"""A linger time of nothing: closing drops what the kernel holds for a client that won't take it."""


class Doing(Enum):
    """What a connection waits for."""

    CONNECTED = auto()  # its first byte
    FIRST_HEAD = auto()  # the rest of the first request's head
    REQUEST = auto()  # the server's answer; the body's deadlines are the upload reader's
    IDLE = auto()  # another request; aiohttp closes after the keep-alive time
    HEAD = auto()  # the rest of another request's head
    LINGER = auto()  # a refused client to read its reply; what it still sends is dropped


_AWAITING_A_HEAD: Final = (Doing.CONNECTED, Doing.FIRST_HEAD, Doing.HEAD)


class Guard(asyncio.Protocol):
    """Stands before aiohttp's protocol: passes every event on, and notes when it came."""

    def __init__(self, connections: "Connections") -> None:
        self._connections = connections
        self._inner = asyncio.Protocol()  # deaf and mute, until the connection is admitted
        self._transport: asyncio.Transport
        self._doing = Doing.CONNECTED
        self._since = 0.0
        self._heard = 0.0
        self._left = LINGER_BYTES
        self._unsent = 0
        self._unsent_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand an admitted connection to aiohttp; refuse one that is too many."""
        self._transport = cast(asyncio.Transport, transport)
        self._since = self._connections.now()
        inner = self._connections.admit(self)
        if inner:
            self._inner = inner
            inner.connection_made(transport)
        elif self._connections.crowded:
            self._transport.write(self._connections.too_many)
            self._transport.close()
        else:
            self.refuse(self._connections.too_many)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._connections.forget(self)
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Note when a head begins, and how much a refused client sends."""
        if self._doing is not Doing.REQUEST:
            self._note(len(data))
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """The client sends no more."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """The client reads more slowly than it is written to: its time runs."""
        self._note_unsent(self._connections.now())
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """The client took most of it."""
        self._unsent_since = None
        self._inner.resume_writing()

    def request_began(self) -> None:
        """The head of a request is complete; its handler begins."""
        self._doing = Doing.REQUEST

    def request_ended(self, *, unread: bool) -> None:
        """The handler ended, perhaps before the request's body was read."""
        self._doing = Doing.LINGER if unread else Doing.IDLE
        self._since = self._heard = self._connections.now()

    def refuse(self, reply: bytes) -> None:
        """Say the last word, and leave the client the time to read it."""
        self._transport.write(reply)
        if self._transport.can_write_eof():  # TLS can't
            self._transport.write_eof()
        self.request_ended(unread=True)

    def check(self, now: float) -> str | None:
        """Close the connection if its client overran a deadline; then, what the client did."""
        if self._unsent_since is not None:
            return self._check_unsent(now, now - self._unsent_since)
        if self._transport.is_closing():  # were nothing unsent, it would be closed by now
            self._note_unsent(now)
            return None
        if self._doing is Doing.LINGER:
            self._check_lingering(now)
            return None
        return self._check_head(now - self._since)

    def _note(self, size: int) -> None:
        now = self._connections.now()
        if self._doing is Doing.LINGER:
            self._heard = now
            self._left -= size
            if self._left < 0:
                self._transport.close()
        elif self._doing is Doing.IDLE:
            self._since, self._doing = now, Doing.HEAD
        elif self._doing is Doing.CONNECTED:
            self._doing = Doing.FIRST_HEAD

    def _note_unsent(self, now: float) -> None:
        self._unsent, self._unsent_since = self._count_unsent(), now

    def _count_unsent(self) -> int:
        """Falls by what the client takes.

        A TLS transport does not count what it has encrypted: there, the kernel is asked.
        """
        if self._transport.get_extra_info("sslcontext") and hasattr(socket, "TCP_INFO"):
            with suppress(OSError):  # the client was quicker
                raw = self._transport.get_extra_info("socket")
                told = raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKNOWLEDGED.stop)
                return -int.from_bytes(told[_ACKNOWLEDGED], sys.byteorder)
        return self._transport.get_write_buffer_size()

    def _check_unsent(self, now: float, seconds: float) -> str | None:
        if self._count_unsent() <= self._unsent - WRITE_PROGRESS:
            self._note_unsent(now)
        elif seconds > self._connections.write_timeout:
            self._reset()
            return "the answer was not read within --write-timeout"
        return None

    def _reset(self) -> None:
        with suppress(OSError):  # the client was quicker
            raw = self._transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    def _check_lingering(self, now: float) -> None:
        if now - self._heard > LINGER_PAUSE or now - self._since > LINGER_SECONDS:
            self._transport.close()

    def _check_head(self, seconds: float) -> str | None:
        if self._doing not in _AWAITING_A_HEAD or seconds <= self._connections.header_timeout:
            return None
        silent = self._doing is Doing.CONNECTED
        if self._doing is Doing.FIRST_HEAD:  # otherwise a reply could be on its way
            self._transport.write(self._connections.slow_head)
        self._transport.close()
        return None if silent else "no whole head of a request came within --header-timeout"


class Connections:
    """Every open connection: makes the guards, and watches them.

    Args:
        server: Makes aiohttp's protocol for a connection.
        most: How many may be open.
        header_timeout: Seconds from a connection's start, or from the first byte of another
            request on it, to the end of the request's head.
        write_timeout: Seconds in which a client must take `WRITE_PROGRESS` of what waits for it.
    """

    def __init__(
        self,
        server: Callable[[], asyncio.Protocol],
        *,
        most: int,
        header_timeout: float,
        write_timeout: float,
    ) -> None:
        self.header_timeout: Final = header_timeout
        self.write_timeout: Final = write_timeout
        self.now: Final = asyncio.get_running_loop().time
        self.slow_head: Final = raw(
            SlowHeadError(f"The head of the request did not arrive within {header_timeout:g} s.")
        )
        self.too_many: Final = raw(
            TooManyConnectionsError(
                f"The server has {most} connections, the most it keeps. Try again later.",
                retry_after=1,
            )
        )
        self._server = server
        self._most = most
        self._open: set[Guard] = set()
        self._refused: set[Guard] = set()
        self._closed: Counter[str] = Counter()

    @property
    def crowded(self) -> bool:
        """Whether so many are being refused that none of them can be waited for."""
        return len(self._refused) > MAX_REFUSED

    def guard(self) -> Guard:
        """The protocol of a new connection."""
        return Guard(self)

    def admit(self, guard: Guard) -> asyncio.Protocol | None:
        """The protocol that serves a new connection; None if it is too many."""
        if len(self._open) < self._most:
            self._open.add(guard)
            return self._server()
        self._refused.add(guard)
        self._closed["there were --max-connections already"] += 1
        return None

    def forget(self, guard: Guard) -> None:
        """The connection is closed."""
        self._open.discard(guard)
        self._refused.discard(guard)

    async def watch(self) -> None:
        """Close connections whose clients overran a deadline, until cancelled."""
        shortest = min(self.header_timeout, self.write_timeout)
        while True:
            await asyncio.sleep(min(1.0, max(0.01, shortest / 8)))
            now = self.now()
            for guard in (*self._open, *self._refused):
                if why := guard.check(now):
                    self._closed[why] += 1
            for why, number in self._closed.items():
                log.warning("connections closed: %d; %s", number, why)
            self._closed.clear()


@web.middleware
async def mark(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tell the connection's guard when a request is being answered."""
    guard = request.transport and request.transport.get_protocol()
    if not isinstance(guard, Guard):  # the client left, or this is served without guards
        return await handler(request)
    guard.request_began()
    try:
        return await handler(request)
    finally:
        guard.request_ended(unread=not request.content.is_eof())


async def close_after(request: web.Request, response: web.StreamResponse) -> None:
    """Keep no connection whose request was not read, and none while draining.

    A response-prepare signal.
    """
    if request.content.is_eof() and request.app[HEALTH].phase is not Phase.DRAINING:
        return
    response.headers[hdrs.CONNECTION] = "close"
    response.force_close()
