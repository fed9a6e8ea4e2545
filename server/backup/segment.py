"""A segment: lines of a backup in one compressed object that tells whether it is whole.

Newline-delimited JSON in one zstd frame: a header, the lines (`store.lines`), and a footer with
their number and the SHA-256 of all before it.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from typing import Any, Final

import orjson
import zstandard

from server.errors import BackupUnusableError

FORMAT: Final = 1
LEVEL: Final = 3
MAX_LINE: Final = 64 * 2**20
MAX_WINDOW: Final = 2**27
SLICE: Final = 2**8
"""Compressed bytes expanded at once: they become 8 MiB at most, the ratio of zstd being 2**15."""

ENOUGH: Final = 2**20
"""Expanded bytes after which their lines are given out."""


class SegmentWriter:
    """Makes a segment, piece by piece: `begin`, any number of `add`, `end`.

    Attributes:
        lines: How many lines it holds so far, without header and footer.
    """

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(LEVEL, write_checksum=True).compressobj()
        self._hash = hashlib.sha256()
        self.lines = 0

    def begin(self, header: Mapping[str, object]) -> bytes:
        """The first bytes.

        Args:
            header: What the segment is.
        """
        return self._compress(orjson.dumps({"format": FORMAT, **header}))

    def add(self, text: bytes, lines: int) -> bytes:
        """More bytes, perhaps none yet.

        Args:
            text: Lines joined by newlines.
            lines: How many.
        """
        self.lines += lines
        return self._compress(text)

    def end(self) -> bytes:
        """The last bytes."""
        footer = {"lines": self.lines, "sha256": self._hash.hexdigest()}
        return self._compress(orjson.dumps(footer)) + self._compressor.flush()

    def _compress(self, text: bytes) -> bytes:
        text += b"\n"
        self._hash.update(text)
        return self._compressor.compress(text)


def pack(header: Mapping[str, object], lines: list[bytes]) -> bytes:
    """A whole segment, of a few lines."""
    segment = SegmentWriter()
    begin = segment.begin(header)
    body = segment.add(b"\n".join(lines), len(lines)) if lines else b""
    return begin + body + segment.end()


async def unpack(name: str, pieces: AsyncIterator[bytes]) -> AsyncGenerator[list[bytes]]:
    """The lines of a segment, some at a time. Once this ends, they are known to be all.

    Args:
        name: How a sentence about it calls it.
        pieces: Its bytes.

    Raises:
        BackupUnusableError: It is truncated, corrupt, foreign or of a newer server.
    """
    reader = _Reader(name)
    async for piece in pieces:
        found = reader.feed(piece)
        while lines := await asyncio.to_thread(next, found, None):
            yield lines
    reader.close()


class _Reader:
    def __init__(self, name: str) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
        self._decompressor = decompressor.decompressobj()
        self._name = name
        self._hash = hashlib.sha256()
        self._lines = -1  # the header is none
        self._rest = b""  # a line that is not complete
        self._last: bytes | None = None  # the last complete line: it may be the footer

    def feed(self, data: bytes) -> Iterator[list[bytes]]:
        """The lines that more bytes complete, but for the last; some at a time, never none."""
        texts, size = [], 0
        for start in range(0, len(data), SLICE):
            texts.append(self._expand(data[start : start + SLICE]))
            size += len(texts[-1])
            if size >= ENOUGH or start + SLICE >= len(data):
                if lines := self._lines_of(b"".join(texts)):
                    yield lines
                texts, size = [], 0

    def _expand(self, data: bytes) -> bytes:
        try:
            return self._decompressor.decompress(data)
        except zstandard.ZstdError as error:
            raise self._unusable(f"can't be expanded ({error})") from None

    def _lines_of(self, text: bytes) -> list[bytes]:
        *lines, self._rest = (self._rest + text).split(b"\n")
        if len(self._rest) > MAX_LINE:
            raise self._unusable("holds a line of more than 64 MiB")
        if not lines:
            return []
        if self._last is not None:
            lines.insert(0, self._last)
        self._last = lines.pop()
        return self._take(lines) if lines else []

    def close(self) -> None:
        """See that the end is there, and tells of what was read."""
        try:
            footer = orjson.loads(self._last or b"")
            told = footer["lines"], footer["sha256"]
        except (ValueError, KeyError, TypeError):
            raise self._unusable("is truncated: its end is missing") from None
        whole = self._decompressor.eof and not self._decompressor.unused_data
        if self._rest or not whole or self._lines < 0:
            raise self._unusable("is truncated or was added to")
        if told != (self._lines, self._hash.hexdigest()):
            raise self._unusable("is corrupt: it does not hold what its end says")

    def _take(self, lines: list[bytes]) -> list[bytes]:
        self._hash.update(b"\n".join(lines) + b"\n")
        if self._lines < 0:
            self._check(lines[0])
            lines = lines[1:]
            self._lines = 0
        self._lines += len(lines)
        return lines

    def _check(self, header: bytes) -> None:
        try:
            version = orjson.loads(header)["format"]
        except (ValueError, KeyError, TypeError):
            raise self._unusable("is not one of this server's backups") from None
        require_known(self._name, version)

    def _unusable(self, why: str) -> BackupUnusableError:
        return BackupUnusableError(f"{self._name} {why}. Nothing was changed.")


def require_known(name: str, version: Any) -> None:  # Any: it may be anything
    """Refuse what this server can't read.

    Raises:
        BackupUnusableError: It is of a newer server.
    """
    if version != FORMAT:
        raise BackupUnusableError(
            f"{name} has format {version!r}; this server reads format {FORMAT}: use a newer one."
            " Nothing was changed."
        )
