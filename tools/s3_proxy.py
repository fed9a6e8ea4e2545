"""A proxy between an S3 client and its server that breaks what passes, as it is told.

`async with S3Proxy(port) as proxy:` forwards every request byte for byte (its signature stays
valid: the server is asked by the proxy's own Host); `proxy.fault = Fault.CUT_AFTER` or
`proxy.inject(Fault.HTML, times=2, methods={"PUT"})` makes the requests that follow go wrong.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Final, Self

_CHUNK: Final = 2**16


class Fault(Enum):
    """What goes wrong with a request."""

    CUT_BEFORE = "the connection breaks before the server gets the request"
    CUT_AFTER = "the server does it, and the connection breaks before its answer"
    DELAY = "the request is passed on after `proxy.delay` seconds"
    HANG = "the request is never answered, not even its Expect: 100-continue"
    FORBIDDEN = "403 AccessDenied"
    SKEWED = "403 RequestTimeTooSkewed"
    CONFLICT = "409 ConditionalRequestConflict"
    PRECONDITION = "412 PreconditionFailed"
    INTERNAL = "500 InternalError"
    SLOW_DOWN = "503 SlowDown"
    HTML = "200, and a page of HTML"
    TRUNCATE = "half of the answer's body, then the connection breaks"
    CORRUPT_ANSWER = "one byte of the answer's body is another"
    CORRUPT_REQUEST = "one byte of the request's body is another"


class Moment(Enum):
    """How far a request that no fault stops has come."""

    ARRIVED = "it is here whole, and not passed on"
    DONE = "the server has answered it, the client got nothing yet"
    MIDWAY = "half of its answer's body is passed on"
    ANSWERED = "its answer is passed on"


Watcher = Callable[[Moment, str], Awaitable[None]]
"""Told of a moment, and of which request: "PUT /bucket/key?query". The request waits meanwhile;
ConnectionError breaks its connection."""


async def _nobody(_: Moment, __: str) -> None:
    """Nobody watches."""


_REFUSALS: Final = {
    Fault.FORBIDDEN,
    Fault.SKEWED,
    Fault.CONFLICT,
    Fault.PRECONDITION,
    Fault.INTERNAL,
    Fault.SLOW_DOWN,
}
_PAGE: Final = b"<!DOCTYPE html><html><body><h1>Sign in</h1></body></html>"


@dataclass
class _Message:
    """The head of a request or an answer."""

    head: bytes
    method: str
    headers: Mapping[str, str]

    @classmethod
    async def read(cls, reader: asyncio.StreamReader, method: str = "") -> Self:
        """The next head; an answer is to the method."""
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").rstrip().split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        return cls(head, method or first.split()[0], headers)

    @property
    def line(self) -> str:
        """Method and target of a request."""
        return self.head.partition(b"\r\n")[0].rpartition(b" ")[0].decode("latin-1")

    @property
    def length(self) -> int:
        return int(self.headers.get("content-length", 0))

    async def body(self, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
        """Its body as it comes, framing included."""
        if self.method == "HEAD":
            return
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            size = 1
            while size:
                line = await reader.readuntil(b"\r\n")
                size = int(line.split(b";")[0], 16)
                yield line + await reader.readexactly(size + 2)
            return
        left = self.length
        while left:
            data = await reader.read(min(left, _CHUNK))
            if not data:
                raise asyncio.IncompleteReadError(data, left)
            left -= len(data)
            yield data

    def without_expect(self) -> bytes:
        """The head without the question that the proxy answers itself; it is never signed."""
        lines = self.head.split(b"\r\n")
        return b"\r\n".join(line for line in lines if not line.lower().startswith(b"expect:"))


class S3Proxy:
    """The proxy; a context. It listens on a port of its own, and counts what it gets.

    Args:
        port: Of the S3 server, on this machine.
        tls: Its clients must speak TLS; the certificate is in here.

    Attributes:
        fault: What goes wrong with every request from now on; None: nothing.
        delay: Seconds, for Fault.DELAY.
        watcher: Is told how each request goes on.
        requests: How many came, by method.
        endpoint: Where clients reach it.
    """

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.fault: Fault | None = None
        self.delay = 0.0
        self.watcher: Watcher = _nobody
        self.requests: Counter[str] = Counter()
        self.endpoint = ""
        self._port = port
        self._next: tuple[Fault, Collection[str] | None] | None = None
        self._times = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        scheme = "https" if self._tls else "http"
        self.endpoint = f"{scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def inject(
        self, fault: Fault, *, times: int = 1, methods: Collection[str] | None = None
    ) -> None:
        """Let the next requests, of these methods or of any, go wrong; `fault` rules the others."""
        self._next, self._times = (fault, methods), times

    def _take(self, method: str) -> Fault | None:
        self.requests[method] += 1
        if self._next and self._times and (not self._next[1] or method in self._next[1]):
            self._times -= 1
            return self._next[0]
        return self.fault

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's connection, request by request."""
        if task := asyncio.current_task():
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            while True:
                request = await _Message.read(reader)
                await self._handle(request, self._take(request.method), reader, writer)
                await writer.drain()
        except asyncio.IncompleteReadError:  # the client is done, or gets no more
            writer.close()
        except (OSError, asyncio.CancelledError):
            _reset(writer)

    async def _handle(
        self,
        request: _Message,
        fault: Fault | None,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        if fault is Fault.HANG:
            await reader.read()  # until the client gives up
            raise ConnectionError
        if fault is Fault.CUT_BEFORE:
            raise ConnectionError
        if "expect" in request.headers:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = b"".join([piece async for piece in request.body(reader)])
        if fault in _REFUSALS:
            writer.write(_refusal(fault, request.method))
        elif fault is Fault.HTML:
            writer.write(_answer(b"200 OK", b"text/html", _PAGE, request.method))
        else:
            if fault is Fault.DELAY:
                await asyncio.sleep(self.delay)
            if fault is Fault.CORRUPT_REQUEST:
                body = _corrupt(body)
            await self.watcher(Moment.ARRIVED, request.line)
            await self._forward(request, body, fault, writer)
            await writer.drain()
            await self.watcher(Moment.ANSWERED, request.line)

    async def _forward(
        self, request: _Message, body: bytes, fault: Fault | None, writer: asyncio.StreamWriter
    ) -> None:
        """Ask the server, and pass on its answer."""
        upstream, sender = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            sender.write(request.without_expect() + body)
            answer = await _Message.read(upstream, request.method)
            pieces = answer.body(upstream)
            if fault is Fault.CUT_AFTER:
                async for _ in pieces:
                    pass
                raise ConnectionError
            await self.watcher(Moment.DONE, request.line)
            writer.write(answer.head)
            midway = partial(self.watcher, Moment.MIDWAY, request.line)
            await _pass_on(pieces, answer.length, fault, writer, midway)
        finally:
            sender.transport.abort()


async def _pass_on(
    pieces: AsyncIterator[bytes],
    length: int,
    fault: Fault | None,
    writer: asyncio.StreamWriter,
    midway: Callable[[], Awaitable[None]],
) -> None:
    """The body of an answer, or what the fault leaves of it."""
    sent, half = 0, length // 2
    async for piece in pieces:
        at = half - sent
        sent += len(piece)
        if fault is Fault.TRUNCATE and sent >= half:
            writer.write(piece[:at])
            raise asyncio.IncompleteReadError(b"", length - half)
        damaged = fault is Fault.CORRUPT_ANSWER and 0 <= at < len(piece)
        writer.write(_corrupt(piece, at) if damaged else piece)
        await writer.drain()
        if 0 <= at < len(piece):
            await midway()


def _corrupt(data: bytes, at: int = 0) -> bytes:
    """The same, but for one byte."""
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :] if data else data


def _refusal(fault: Fault, method: str) -> bytes:
    """An error as S3 words it."""
    _, code = fault.value.split()
    xml = f"<Error><Code>{code}</Code><Message>{fault.name}</Message></Error>"
    return _answer(fault.value.encode(), b"application/xml", xml.encode(), method)


def _answer(status: bytes, kind: bytes, body: bytes, method: str) -> bytes:
    head = b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
    return head % (status, kind, len(body)) + (b"" if method == "HEAD" else body)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Break the connection, so that the client sees a reset and not an end."""
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
