"""What the tests of remotes share: large data, and what is under a remote's keys."""

from collections.abc import AsyncIterator

from server.remote import Remote

MIB = 2**20


async def pieces(size: int, piece: int = MIB) -> AsyncIterator[bytes]:
    """So many bytes, each piece of a value of its own."""
    for number, start in enumerate(range(0, size, piece)):
        yield bytes([number % 251]) * min(piece, size - start)


async def joined(stream: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in stream])


async def keys(remote: Remote, prefix: str = "") -> list[str]:
    return [found.key async for found in remote.list(prefix)]
