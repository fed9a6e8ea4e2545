"""Connections: how many may be open, and how long a client may keep one without doing its part."""

import asyncio
import logging
from collections.abc import Callable
from enum import Enum, auto
from typing import Final, cast

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from server.errors import SlowHeadError, TooManyConnectionsError
from server.health import Phase
from server.web.admission import Admission
from server.web.handshake import Arrival, Guarding, Handshakes
from server.web.keys import HEALTH
from server.web.protocol import raw, refusal
from server.web.unsent import Unsent

log = logging.getLogger(__name__)

LINGER_SECONDS: Final = 10.0
"""How long what a refused client still sends is read, so that it gets to read its reply.

Closing while it sends would reset the connection, and many clients would never see the reply.
"""

LINGER_PAUSE: Final = 2.0
"""Seconds without a byte after which a refused client is no longer waited for."""

LINGER_BYTES: Final = 2**29
"""Most bytes read from a refused client."""


class Doing(Enum):
    """What a connection waits for."""

    HANDSHAKE = auto()  # the end of the TLS handshake, which has a deadline of its own
    CONNECTED = auto()  # its first byte
    FIRST_HEAD = auto()  # the rest of the first request's head
    REQUEST = auto()  # the server's answer; the body's deadlines are the upload reader's
    IDLE = auto()  # another request; aiohttp closes after the keep-alive time
    HEAD = auto()  # the rest of another request's head
    LINGER = auto()  # a refused client to read its reply; what it still sends is dropped


_AWAITING_A_HEAD: Final = (Doing.CONNECTED, Doing.FIRST_HEAD, Doing.HEAD)


class Guard(Guarding):
    """Stands before aiohttp's protocol: passes every event on, and notes when it came."""

    def __init__(self, connections: "Connections") -> None:
        self._connections = connections
        self._inner = asyncio.Protocol()  # deaf and mute, until the connection is admitted
        self._admitted = False
        self._handshake: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport
        self._unsent: Unsent
        self._doing = Doing.CONNECTED
        self.since = 0.0
        self._heard = 0.0
        self._left = LINGER_BYTES

    def enter(self) -> bool:
        """Count the connection; whether it can be waited for, be it admitted or not."""
        self.since = self._connections.now()
        self._admitted = self._connections.admission.admit(self)
        return self._admitted or not self._connections.admission.crowded

    def shake_hands(self, handshake: asyncio.Task[None]) -> None:
        """The TLS handshake begins."""
        self._handshake, self._doing = handshake, Doing.HANDSHAKE

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand an admitted connection to aiohttp; refuse one that is too many."""
        self._transport = cast(asyncio.Transport, transport)
        self._unsent = Unsent(self._transport, self._connections.write_timeout)
        if self._doing is Doing.HANDSHAKE:
            self._doing = Doing.CONNECTED
            self._wait()
        elif not self.enter():
            self._transport.write(self._connections.too_many)
            self._transport.close()
            return
        if self._admitted:
            self._inner = self._connections.serve()
            self._inner.connection_made(transport)
        else:
            self.refuse(self._connections.too_many)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._connections.admission.forget(self)
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
        self._unsent.watch(self._connections.now())
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """The client took most of it."""
        self._unsent.unwatch()
        self._inner.resume_writing()

    def request_began(self) -> None:
        """The head of a request is complete; its handler begins."""
        self._doing = Doing.REQUEST
        self._connections.admission.work(self)

    def request_ended(self, *, unread: bool) -> None:
        """The handler ended, perhaps before the request's body was read."""
        if unread:
            self._doing, self.since = Doing.LINGER, self._connections.now()
            self._heard = self.since
        else:
            self._doing = Doing.IDLE
            self._wait()

    def refuse(self, reply: bytes) -> None:
        """Say the last word, and leave the client the time to read it."""
        self._transport.write(reply)
        self.linger()

    def linger(self) -> None:
        """The last word is said: leave the client the time to read it, whatever it still sends."""
        if self._transport.can_write_eof():  # TLS can't
            self._transport.write_eof()
        self._connections.admission.work(self)
        self.request_ended(unread=True)

    def give_way(self) -> bool:
        """Close this connection, which waits; whether that is done, or some is to be read yet."""
        if self._handshake and self._doing is Doing.HANDSHAKE:
            self._handshake.cancel()
        elif self._transport.get_write_buffer_size():
            self._transport.close()
            return False
        else:
            self._transport.abort()
        return True

    def check(self, now: float) -> str | None:
        """Close the connection if its client overran a deadline; then, what the client did."""
        if self._doing is Doing.HANDSHAKE:
            return None
        if self._unsent.is_watched:
            overdue = self._unsent.drop_if_overdue(now)
            return "the answer was not read within --write-timeout" if overdue else None
        if self._transport.is_closing():  # were nothing unsent, it would be closed by now
            self._unsent.watch(now)
            return None
        if self._doing is Doing.LINGER:
            self._check_lingering(now)
            return None
        return self._check_head(now - self.since)

    def _wait(self) -> None:
        """From now on, this connection waits: for a request, or for the rest of its head."""
        self.since = self._connections.now()
        self._connections.admission.wait(self)

    def _note(self, size: int) -> None:
        if self._doing is Doing.LINGER:
            self._heard = self._connections.now()
            self._left -= size
            if self._left < 0:
                self._transport.close()
        elif self._doing is Doing.IDLE:
            self._doing = Doing.HEAD
            self._wait()
        elif self._doing is Doing.CONNECTED:
            self._doing = Doing.FIRST_HEAD

    def _check_lingering(self, now: float) -> None:
        if now - self._heard > LINGER_PAUSE or now - self.since > LINGER_SECONDS:
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
        serve: Makes aiohttp's protocol for a connection.
        most: How many may be open.
        header_timeout: Seconds from a connection's start, or from the first byte of another
            request on it, to the end of the request's head.
        write_timeout: Seconds in which a client must take `WRITE_PROGRESS` of what waits for it.
        handshakes: What encrypts connections; None leaves them plain.
    """

    def __init__(
        self,
        serve: Callable[[], asyncio.Protocol],
        *,
        most: int,
        header_timeout: float,
        write_timeout: float,
        handshakes: Handshakes | None,
    ) -> None:
        self.serve: Final = serve
        self.header_timeout: Final = header_timeout
        self.write_timeout: Final = write_timeout
        self._handshakes = handshakes
        self.now: Final = asyncio.get_running_loop().time
        self.slow_head: Final = raw(
            refusal(
                SlowHeadError(
                    f"The head of the request did not arrive within {header_timeout:g} s."
                )
            )
        )
        self.too_many: Final = raw(
            refusal(
                TooManyConnectionsError(
                    f"The server has {most} connections, the most it keeps. Try again later.",
                    retry_after=1,
                )
            )
        )
        self.admission: Final[Admission[Guard]] = Admission(most, self.now)

    def protocol(self) -> asyncio.Protocol:
        """That of a new connection."""
        guard = Guard(self)
        return Arrival(self._handshakes, guard) if self._handshakes else guard

    async def watch(self) -> None:
        """Close connections whose clients overran a deadline, until cancelled."""
        shortest = min(self.header_timeout, self.write_timeout)
        while True:
            await asyncio.sleep(min(0.25, max(0.01, shortest / 8)))
            now = self.now()
            for guard in self.admission.everyone():
                if why := guard.check(now):
                    self.admission.closed[why] += 1
            for why, number in self.admission.closed.items():
                log.warning("connections closed: %d; %s", number, why)
            self.admission.closed.clear()


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
