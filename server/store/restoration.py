"""A restoration: a backup's results, gathered beside the present ones, then put in their place."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import apsw

from server.prediction import Prediction
from server.store import backup_statements as statements
from server.store.database import fetch
from server.store.lines import Deletion, parse
from server.store.rows import to_row
from server.store.writer import Writer

RESERVED: Final = 2**32
"""Numbers (`seq`) that an import sets aside for its results; no result is accepted under them."""

AT_ONCE: Final = 125
"""Lines written in one transaction: what waits for the writer meanwhile waits milliseconds."""

SWEPT_AT_ONCE: Final = 2000
"""Rows looked at in one transaction."""


class _Found(NamedTuple):
    """What lines say: rows of results, deletions, and up to when all are deleted."""

    results: list[tuple[Any, ...]]  # columns of any types
    deletions: list[Deletion]
    cleared_at: int


class Restoration:
    """Fills a table of its own, in many small transactions; `swap` makes it the present one.

    Until then, and if that never comes, no result that is there is touched. One at a time.

    Args:
        writer: Of the database.

    Attributes:
        results: How many results were gathered; after `swap`, how many of them count: each id
            once, and none that is deleted.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._first = 0
        self._cleared_at = 0
        self._deletions = 0
        self.results = 0

    async def begin(self) -> None:
        """Make the table."""
        self._first = await self._writer.run(_begin)

    async def add(self, lines: Sequence[bytes]) -> None:
        """Gather lines of a backup, in any order; of an id, the newest completion counts.

        Args:
            lines: At most `AT_ONCE`: they are written in one transaction.

        Raises:
            BackupUnusableError: One is none of ours.
        """
        found = await asyncio.to_thread(_parse, lines)

        def work(connection: apsw.Connection) -> None:
            connection.executemany(statements.IMPORT, found.results)
            connection.executemany(statements.IMPORT_TOMBSTONE, found.deletions)

        await self._writer.run(work)
        self._cleared_at = max(self._cleared_at, found.cleared_at)
        self._deletions += len(found.deletions)
        self.results += len(found.results)

    async def swap(self, absorbed: Mapping[str, int]) -> None:
        """Put what was gathered in the place of the present results, in one transaction.

        These stay: what is Pending, what is not exported yet, what was recorded since `begin`. And
        what is deleted, here or by the backup, stays deleted. The backup is known to be whole by
        now: its deletions are true even if this does not come to its end.

        Args:
            absorbed: The files that were read (`Journal.absorb`).
        """
        await self._bury()
        swept = await self._sweep()

        def work(connection: apsw.Connection) -> None:
            values = self._deleted(connection) | {
                "swept_cleared_at": swept["cleared_at"],
                "swept_tombstone": swept["tombstone"],
                "end": self._first + RESERVED,
            }
            for statement in statements.DROP_DELETED:
                connection.execute(statement, values)
            self.results = fetch(connection, statements.COUNT_IMPORTED)[0][0]
            for statement in statements.REPLACE:
                connection.execute(statement, values)
            connection.executemany(statements.ABSORB, absorbed.items())

        await self._writer.run(work)

    async def abandon(self) -> None:
        """Drop the table."""
        await self._writer.run(drop)

    async def _bury(self) -> None:
        """Remember the backup's deletions, bit by bit."""
        for after in range(0, self._deletions, SWEPT_AT_ONCE):
            values = {"after": after, "last": after + SWEPT_AT_ONCE}

            def work(connection: apsw.Connection, values: dict[str, int] = values) -> None:
                connection.execute(statements.ADD_IMPORTED_TOMBSTONES, values)

            await self._writer.run(work)

    async def _sweep(self) -> dict[str, int]:
        """Drop gathered results that are deleted, bit by bit; as of which deletions that was."""
        deleted = await self._writer.run(self._deleted)
        last = self._first + self.results
        for after in range(self._first, last, SWEPT_AT_ONCE):
            values = deleted | {"after": after, "last": after + SWEPT_AT_ONCE}

            def work(connection: apsw.Connection, values: dict[str, int] = values) -> None:
                connection.execute(statements.SWEEP, values)

            await self._writer.run(work)
        return deleted

    def _deleted(self, connection: apsw.Connection) -> dict[str, int]:
        """Up to when all results are deleted, and the last of the tombstones."""
        cleared_at, tombstone = fetch(connection, statements.LAST_DELETIONS)[0]
        return {"cleared_at": max(cleared_at, self._cleared_at), "tombstone": tombstone}


def _parse(lines: Sequence[bytes]) -> _Found:
    found = _Found([], [], 0)
    for entry in map(parse, lines):
        if isinstance(entry, Prediction):
            found.results.append(to_row(entry))
        elif isinstance(entry, Deletion):
            found.deletions.append(entry)
        else:
            found = found._replace(cleared_at=max(found.cleared_at, entry.cleared_at))
    return found


def drop(connection: apsw.Connection) -> None:
    """Drop what an import that did not end has left."""
    for statement in statements.DROP_IMPORTED:
        connection.execute(statement)


def _begin(connection: apsw.Connection) -> int:
    """Make `imported` in the shape of `predictions`; the number after which its rows begin."""
    drop(connection)
    first: int = fetch(connection, statements.LAST_NUMBER)[0][0]
    for name, sql in fetch(connection, statements.SHAPE):
        title = re.compile(r"^CREATE (TABLE|INDEX) .*?\(", re.DOTALL)
        if name == "predictions":
            connection.execute(title.sub("CREATE TABLE imported (", sql, count=1))
        else:  # an index keeps its name when its table is renamed: each needs one of its own
            base = re.sub(r"_\d+$", "", name)
            connection.execute(
                title.sub(f"CREATE INDEX {base}_{first} ON imported (", sql, count=1)
            )
    connection.execute(statements.CREATE_IMPORTED_TOMBSTONES)
    connection.execute(statements.RESERVE, (first + RESERVED, "predictions"))
    connection.execute(statements.RESERVE, (first, "imported"))
    return first
