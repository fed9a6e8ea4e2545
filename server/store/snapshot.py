"""A snapshot: everything that a backup holds, as it was at one moment, in pieces."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import apsw

from server.store import backup_statements as statements
from server.store.database import connect, fetch

T = TypeVar("T")

PIECE_BYTES: Final = 2**18
PIECE_ROWS: Final = 400


class Piece(NamedTuple):
    """Some lines, joined by newlines (`store.lines`), how many they are, and how many results."""

    text: bytes
    lines: int
    results: int


class Snapshot:
    """A view of the database that later writes do not change, read in a thread of its own.

    A context: entered, it stands; left, it is released. The write-ahead log grows meanwhile.

    Args:
        path: The database.

    Attributes:
        last_change: The `seq` of the last change that it holds.
        absorbed: As of `Journal.absorbed`, at that moment.
        results: How many results it holds.
    """

    last_change: int
    absorbed: dict[str, int]
    results: int

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="snapshot")
        self._connection: apsw.Connection | None = None

    async def __aenter__(self) -> "Snapshot":
        try:
            self._connection = await self._do(self._open)
        except BaseException:  # a cancellation, too: what was opened goes with its thread
            self._thread.shutdown(wait=False)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._connection:
            await asyncio.shield(self._do(self._connection.close))
        self._thread.shutdown(wait=False)

    async def pieces(self) -> AsyncIterator[Piece]:
        """The clearing and the deletions, then the results in the order of their acceptance."""
        assert self._connection  # noqa: S101 - it is entered # nosec B101
        pieces = _pieces(self._connection)
        while piece := await self._do(lambda: next(pieces, None)):
            yield piece

    async def _do(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _open(self) -> apsw.Connection:
        connection = connect(self._path, apsw.SQLITE_OPEN_READONLY)
        connection.execute("BEGIN")  # what is read first stands until the connection is closed
        self.absorbed = dict(fetch(connection, statements.ABSORBED))
        last = fetch(connection, statements.LAST_CHANGE)
        self.last_change = last[0][0] if last else 0
        self.results = fetch(connection, statements.COUNT_FINISHED)[0][0]
        return connection


def _pieces(connection: apsw.Connection) -> Iterator[Piece]:
    for (line,) in fetch(connection, statements.CLEARING_LINE):
        yield Piece(line.encode(), 1, 0)
    after: int | None = 0
    while True:
        text, lines, after = fetch(connection, statements.TOMBSTONE_LINES, (after, PIECE_ROWS))[0]
        if after is None:
            break
        yield Piece(text.encode(), lines, 0)
    first = 0
    while True:
        last = fetch(connection, statements.END_OF_PIECE, (first, PIECE_ROWS, PIECE_BYTES))[0][0]
        if last is None:
            break
        text, lines = fetch(connection, statements.RESULT_LINES, (first, last))[0]
        if lines:
            yield Piece(text.encode(), lines, lines)
        first = last
