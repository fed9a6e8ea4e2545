"""The journal: which results changed since they were backed up, and what backups hold already."""

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple

import apsw

from server.prediction import now
from server.store import backup_statements as statements
from server.store.readers import Readers
from server.store.writer import Writer

TOMBSTONE_MS: Final = 7 * 86_400_000
"""How long a deletion is remembered: servers that share a prefix import or export as often."""


class Changes(NamedTuple):
    """Some changes, the oldest first.

    Attributes:
        last: The `seq` of the last of them.
        lines: What became of each, as `store.lines` says it: a line each, none ends in a newline.
    """

    last: int
    lines: list[bytes]


class Journal:
    """What is to be exported: ids, whose state is looked up when they are.

    Args:
        writer: Of the database.
        readers: Of the database.

    Attributes:
        news: Set when there is something to export.
    """

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers
        self.news: Final = asyncio.Event()
        self.news.set()  # there may be something from before the start

    async def waiting(self) -> int:
        """How many changes are to be exported."""
        count: int = (await self._readers.fetch(statements.COUNT_CHANGES))[0][0]
        return count

    async def last(self) -> int:
        """The `seq` of the newest change, exported or not."""
        rows = await self._readers.fetch(statements.LAST_CHANGE)
        return rows[0][0] if rows else 0

    async def waits(self, last: int) -> bool:
        """Whether a change up to one, by its `seq`, is to be exported."""
        return bool(await self._readers.fetch(statements.A_CHANGE, (last,)))

    async def changes(self, most: int, max_bytes: int) -> Changes | None:
        """The oldest changes: at most so many, and so many bytes unless the first alone has more.

        None: there are none.
        """
        last = total = 0
        for seq, size in await self._readers.fetch(statements.SIZES_OF_CHANGES, (0, most)):
            total += size
            if last and total > max_bytes:
                break
            last = seq
        if not last:
            return None
        rows = await self._readers.fetch(statements.LINES_OF_CHANGES, (last,))
        return Changes(last, [line.encode() for (line,) in rows if line])

    async def exported(self, last: int) -> None:
        """Forget the changes up to one, by its `seq`, which the remote has now."""

        def work(connection: apsw.Connection) -> None:
            connection.execute(statements.DELETE_CHANGES, (last,))
            connection.execute(statements.DELETE_TOMBSTONES_BEFORE, (now() - TOMBSTONE_MS,))

        await self._writer.run(work)

    async def touch(self, request_id: str | None) -> None:
        """Have a result, or its deletion, exported once more; None: the deletion of all."""
        await self._writer.run(lambda connection: note(connection, request_id))
        self.news.set()

    async def remote(self) -> str | None:
        """The remote that has what is not in the changes; None: none yet."""
        rows = await self._readers.fetch(statements.REMOTE)
        return rows[0][0] if rows else None

    async def belongs_to(self, remote: str) -> None:
        """Remember that a remote has what is not in the changes."""
        await self._writer.run(
            lambda connection: connection.execute(statements.SET_REMOTE, (remote,))
        )

    async def absorb(self, files: Mapping[str, int]) -> None:
        """Remember files of the remote that hold nothing which is not here."""
        await self._writer.run(
            lambda connection: connection.executemany(statements.ABSORB, files.items())
        )

    async def absorbed(self) -> dict[str, int]:
        """Those files: snapshots by their keys, and writers with the number of the last group."""
        return dict(await self._readers.fetch(statements.ABSORBED))


def note(connection: apsw.Connection, request_id: str | None) -> None:
    """Note, in a transaction, that a result was recorded or deleted; None: all were deleted."""
    connection.execute(statements.ADD_CHANGE, (request_id,))


def bury(connection: apsw.Connection, request_ids: list[str]) -> None:
    """Note, in a transaction, that results were deleted, so that no backup brings them back."""
    deleted_at = now()
    connection.executemany(
        statements.ADD_TOMBSTONE, [(request_id, deleted_at) for request_id in request_ids]
    )
    connection.executemany(statements.ADD_CHANGE, [(request_id,) for request_id in request_ids])


def clear(connection: apsw.Connection) -> None:
    """Note, in a transaction and before they are deleted, that all results are."""
    connection.execute(statements.CLEAR, (now(),))
    connection.execute(statements.DELETE_CHANGES_BUT_DELETIONS)
    note(connection, None)
