"""Where results are backed up: the protocol that export and import speak, whatever the store."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Final, NamedTuple, Protocol

MAX_READ: Final = 64 * 2**20
"""The largest object that `Remote.read` gives, in bytes: larger ones are streamed."""


class RemoteError(Exception):
    """The remote can't be reached or refuses: trying again later may help.

    Its text is one sentence for people that says what to do, and never holds a secret.
    """


class MissingError(RemoteError):
    """There is no object under that key."""


class ConflictError(RemoteError):
    """A conditional write found something else under its key."""


class Object(NamedTuple):
    """What a list tells of an object: size in bytes, modified in seconds since the epoch."""

    key: str
    size: int
    modified: float


class Blob(NamedTuple):
    """An object's bytes, and the store's name for this version of it."""

    data: bytes
    tag: str


class Remote(Protocol):
    """An object store: bytes under relative keys of ASCII, their parts joined by '/'.

    Every method raises a RemoteError when the store can't be reached or refuses, in bounded time,
    and a ValueError for a key that no store may have (see `server.remote.keys`).

    Attributes:
        url: The store as people read it, without secrets: s3://bucket/prefix or file:///folder.
    """

    url: str

    async def read(self, key: str) -> Blob:
        """A small object, whole and undamaged.

        Raises:
            MissingError: There is none.
            RemoteError: It has more than MAX_READ bytes, beside the usual.
        """

    def stream(self, key: str) -> AsyncGenerator[bytes, None]:
        """A large object in pieces, in constant memory; it is complete if no error ends it.

        Raises:
            MissingError: There is none.
        """

    async def write(self, key: str, data: bytes, *, replaces: str | None) -> None:
        """Keep these bytes; returns only when the store confirmed these very bytes.

        After an error it is unknown whether they are there. Writing the same again is safe: what
        is already there byte for byte counts as written.

        Args:
            key: Where.
            data: At most MAX_READ bytes.
            replaces: Write only over the version of this tag; None: only where there is nothing.

        Raises:
            ConflictError: Something else is there.
        """

    async def write_stream(self, key: str, pieces: AsyncIterator[bytes]) -> int:
        """Keep a new object of any size, in constant memory; gives the number of its bytes.

        If it fails, or the pieces do, there is nothing to see under the key.

        Raises:
            ConflictError: There is an object already.
        """

    def list(self, prefix: str) -> AsyncIterator[Object]:
        """Every object whose key begins so, in ascending order of the keys.

        Some S3 stores order folder by folder: there, a/1 comes before a-1. Names of one length
        in a folder come in order everywhere.
        """

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove objects, any number of them; those that are missing are no error."""

    async def close(self) -> None:
        """End connections; nothing may be called afterwards."""
