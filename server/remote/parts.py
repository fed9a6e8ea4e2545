"""The parts that large objects are written and read in."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

PART: Final = 5 * 2**20
"""Bytes of each part of an object but its last: the least that S3 takes."""


async def in_parts(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The same bytes, cut into parts of PART bytes; the last may be shorter, none is empty."""
    buffer = bytearray()
    async for piece in pieces:
        buffer += piece
        while len(buffer) >= PART:
            part = bytes(memoryview(buffer)[:PART])
            del buffer[:PART]
            yield part
    if buffer:
        yield bytes(buffer)
