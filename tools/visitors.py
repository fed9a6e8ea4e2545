"""Visitors that hold a server's connections, and give it nothing to do or hardly anything."""

import asyncio
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

ASKED = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
POSTED = (
    b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: 9999\r\n\r\n"
)
REFUSED = b"HTTP/1.1 408 "

PAUSE = 1.0
"""Seconds between two pieces that a slow one writes."""

ARRIVING = 100
"""Visitors that connect at the same time, at most."""

EARLY = 0.5
"""Seconds by which a deadline may come early: the server's clock stands still while it is busy."""


@dataclass(frozen=True)
class Kind:
    """What a visitor does, and what it must get.

    Attributes:
        name: What it is called.
        due: Seconds after which it must be told something, or its connection be closed.
        asks: Whether it makes a whole request first, and gets its reply.
        writes: What it then writes, piece by piece, the last one again and again.
        reply: How that begins which it must be told; nothing if it is closed without a word.
    """

    name: str
    due: float
    asks: bool = False
    writes: tuple[bytes, ...] = ()
    reply: bytes = b""

    def pieces(self) -> Iterator[bytes]:
        """What it writes, without an end if there is anything."""
        yield from self.writes
        if self.writes:
            yield from itertools.repeat(self.writes[-1])


class Visit(NamedTuple):
    """What a visitor got: the first bytes, the seconds until then, and until the end."""

    kind: Kind
    reply: bytes
    told: float
    closed: float

    def went_well(self, spare: float) -> bool:
        """Whether it was told the right thing, in time, or not so many seconds late."""
        right = self.reply[: len(REFUSED)] == self.kind.reply
        return right and -EARLY <= self.told - self.kind.due <= spare


def kinds(header: float, keepalive: float, body: float) -> tuple[Kind, Kind, Kind, Kind]:
    """Two idle ones and two slow writers, by the server's deadlines in seconds."""
    head = tuple(bytes([byte]) for byte in ASKED[:-2])
    return (
        Kind("silent", header),
        Kind("kept", keepalive, asks=True),
        Kind("slow head", header, writes=(*head, b"x"), reply=REFUSED),
        Kind("slow body", body, writes=(POSTED, b"1234"), reply=REFUSED),
    )


class Crowd:
    """Visitors of a server, each of whom comes back when it was shown the door.

    Args:
        url: The server's.
    """

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url).hostname, urlsplit(url).port
        self._door = asyncio.Semaphore(ARRIVING)
        self._returning = True
        self._visitors: list[asyncio.Task[None]] = []
        self.visits: list[Visit] = []
        self.present = 0

    def send(self, kind: Kind, number: int) -> None:
        """Send so many of a kind."""
        self._visitors += [
            asyncio.create_task(self._come_and_go(kind), name=kind.name) for _ in range(number)
        ]

    async def leave(self) -> None:
        """Let each visitor stay until it is shown the door for the last time.

        Raises:
            OSError: One of them could not connect.
        """
        self._returning = False
        await asyncio.gather(*self._visitors)

    async def _come_and_go(self, kind: Kind) -> None:
        while True:
            async with self._door:
                began = time.monotonic()
                reader, writer = await asyncio.open_connection(*self._address)
            self.present += 1
            try:
                self.visits.append(await _visit(kind, began, reader, writer))
            finally:
                self.present -= 1
                writer.close()
            if not self._returning:
                return


async def _visit(
    kind: Kind, began: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Visit:
    if kind.asks:
        writer.write(ASKED)
        await reader.readuntil(b"}")
    reply = await _told(kind, reader, writer)
    told = time.monotonic() - began
    try:
        while await reader.read(2**16):
            pass
    except ConnectionResetError:
        reply += b" and a reset"
    return Visit(kind, reply, told, time.monotonic() - began)


async def _told(kind: Kind, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The first bytes that come while it writes; nothing if the connection is closed."""
    told = asyncio.ensure_future(reader.read(2**16))
    for piece in kind.pieces():
        writer.write(piece)
        await asyncio.wait([told], timeout=PAUSE)
        if told.done():
            break
    try:
        return await told
    except ConnectionResetError:
        return b"a reset"
