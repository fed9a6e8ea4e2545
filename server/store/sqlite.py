"""The store on SQLite: one writer, a few readers, one file."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

import apsw

from server.prediction import TRANSITIONS, Prediction, Status
from server.store import (
    Accepted,
    Cursor,
    IdempotencyKey,
    Limits,
    Page,
    Pending,
    Query,
    Upload,
    statements,
)
from server.store.database import fetch, open_checked
from server.store.journal import Journal, bury, clear, note
from server.store.lock import DataDirLock
from server.store.readers import Readers
from server.store.restoration import Restoration, drop
from server.store.rows import from_row, to_row
from server.store.snapshot import Snapshot
from server.store.writer import Writer

_MAX_SEQ: Final = 2**63 - 1

READERS: Final = 2

T = TypeVar("T")


class SQLiteStore:
    """Predictions in `{data_dir}/predictions.db` (WAL, `synchronous=FULL`).

    Args:
        data_dir: Made when it does not exist.
        on_broken: Told when a commit failed and nothing more may be promised (`Writer`).
        export_added: Whether results that are added finished are to be exported, too.

    Attributes:
        journal: What changed and is to be exported.

    Raises:
        DataDirInUseError: Another server has the directory.
        StoreUnusableError: The database can't be used; the sentence says why.
    """

    def __init__(
        self,
        data_dir: Path,
        on_broken: Callable[[BaseException], None],
        *,
        export_added: bool = True,
    ) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        self._lock = DataDirLock(data_dir)
        self._path = data_dir / "predictions.db"
        self._export_added = export_added
        try:
            connection = open_checked(self._path)
            drop(connection)
            last = fetch(connection, statements.LAST_SEQ)[0][0]
            self.suspects_end = last if self._lock.left_by_a_crash else 0
            self._writer = Writer(connection, on_broken)
        except BaseException:
            self._lock.release(well=not self._lock.left_by_a_crash)
            raise
        self._readers = Readers(self._path, READERS)
        self.journal: Final = Journal(self._writer, self._readers)

    async def add(
        self,
        prediction: Prediction,
        upload: Upload | None = None,
        key: IdempotencyKey | None = None,
    ) -> None:
        """Record a new prediction, with the upload it will be run on if it is Pending."""
        exported = self._export_added and not TRANSITIONS[prediction.status]

        def work(connection: apsw.Connection) -> None:
            connection.execute(statements.INSERT, to_row(prediction))
            seq = connection.last_insert_rowid()
            if upload:
                image = (seq, upload.name, upload.save_locally, upload.data)
                connection.execute(statements.INSERT_IMAGE, image)
            if key:
                connection.execute(statements.INSERT_KEY, (*key, seq, prediction.created_at))
            if exported:
                note(connection, prediction.request_id)

        await self._writer.run(work)
        if exported:
            self.journal.news.set()

    async def finish(self, prediction: Prediction) -> bool:
        """Replace a Pending prediction by its finished form and drop its upload."""
        request_id, status, _, *rest = to_row(prediction)

        def work(connection: apsw.Connection) -> bool:
            row = fetch(connection, statements.FINISH, (status, *rest, request_id))
            connection.executemany(statements.DELETE_IMAGE, row)
            if row:
                note(connection, request_id)
            return bool(row)

        return await self._change(work)

    async def get(self, request_id: str) -> Prediction | None:
        """The prediction of that id."""
        rows = await self._readers.fetch(statements.GET, (request_id,))
        return from_row(*rows[0]) if rows else None

    async def has(self, request_id: str) -> bool:
        """Whether there is a prediction of that id."""
        return bool(await self._readers.fetch(statements.GET, (request_id,)))

    async def page(self, query: Query) -> Page:
        """The newest results that match."""
        statement = statements.page(
            status=query.status is not None,
            since=query.since is not None,
            before=query.before is not None,
        )
        before_time, before_seq = query.before or (None, None)
        values = {
            "status": query.status,
            "since": query.since,
            "before_time": before_time,
            "before_seq": before_seq,
            "limit": query.limit + 1,  # one more tells whether there is a next page
        }
        rows = await self._readers.fetch(statement, values)
        predictions = [from_row(*row[:-1]) for row in rows[: query.limit]]
        if len(rows) <= query.limit:
            return Page(predictions, None)
        return Page(predictions, Cursor(predictions[-1].created_at, rows[query.limit - 1][-1]))

    async def pending(self, after: int, limit: int) -> list[Pending]:
        """Accepted predictions in the order of their acceptance, from `after` (a `seq`) on."""
        rows = await self._readers.fetch(statements.PENDING_AFTER, (after, limit))
        return [Pending(*row) for row in rows]

    async def accepted(self, request_id: str) -> Accepted | None:
        """A Pending prediction with the upload it waits to be run on."""
        for name, save_locally, data, attempts, *row in await self._readers.fetch(
            statements.GET_UPLOAD, (request_id,)
        ):
            return Accepted(from_row(*row), Upload(data, name, bool(save_locally)), attempts)
        return None

    async def count_attempt(self, request_id: str, change: int = 1) -> int:
        """Count a run that is about to be, or was, lost; how many there are now."""

        def work(connection: apsw.Connection) -> int:
            rows = fetch(connection, statements.COUNT_ATTEMPT, (change, request_id))
            return int(rows[0][0]) if rows else 0

        return await self._writer.run(work)

    async def by_key(self, key: str, since: int) -> tuple[bytes, Prediction] | None:
        """The fingerprint and the prediction recorded under an idempotency key since a time."""
        for fingerprint, *row in await self._readers.fetch(statements.GET_BY_KEY, (key, since)):
            return fingerprint, from_row(*row)
        return None

    async def delete(self, request_id: str) -> Status | None:
        """Delete a prediction; the status it had, None if there is none."""

        def work(connection: apsw.Connection) -> Status | None:
            for seq, status in fetch(connection, statements.DELETE, (request_id,)):
                connection.execute(statements.DELETE_IMAGE, (seq,))
                connection.execute(statements.DELETE_KEY, (seq,))
                if not TRANSITIONS[Status(status)]:
                    bury(connection, [request_id])
                return Status(status)
            return None

        return await self._change(work)

    async def delete_all(self) -> tuple[int, int]:
        """Delete every prediction; how many there were, and how many of them were Pending."""

        def work(connection: apsw.Connection) -> tuple[int, int]:
            pending = fetch(connection, statements.COUNT_PENDING)[0][0]
            clear(connection)
            connection.execute(statements.DELETE_ALL_IMAGES)
            connection.execute(statements.DELETE_ALL_KEYS)
            connection.execute(statements.DELETE_ALL)
            return connection.changes(), pending

        return await self._change(work)

    async def expire(self, limits: Limits, most: int) -> list[str]:
        """Delete the oldest of the finished results that are not to be kept, at most so many."""
        last = Cursor(limits.before - 1, _MAX_SEQ) if limits.before is not None else Cursor(0, 0)
        if limits.beyond is not None:
            for row in await self._readers.fetch(statements.NTH_NEWEST, (limits.beyond,)):
                last = max(last, Cursor(*row))

        def work(connection: apsw.Connection) -> list[str]:
            rows = fetch(connection, statements.DELETE_FINISHED_BEFORE, (*last, most))
            connection.executemany(statements.DELETE_KEY, [(seq,) for seq, _ in rows])
            expired = [request_id for _, request_id in rows]
            bury(connection, expired)
            return expired

        return await self._change(work)

    async def expire_keys(self, before: int) -> None:
        """Forget the idempotency keys used before a time."""

        def work(connection: apsw.Connection) -> None:
            connection.execute(statements.DELETE_KEYS_BEFORE, (before,))

        await self._writer.run(work)

    async def oldest_pending(self) -> int | None:
        """When the prediction that waits longest was created."""
        rows = await self._readers.fetch(statements.OLDEST_PENDING)
        return rows[0][0] if rows else None

    async def counts(self) -> Mapping[Status, int]:
        """How many predictions have each status."""
        found = {
            Status(status): n for status, n in await self._readers.fetch(statements.COUNTS, ())
        }
        return {status: found.get(status, 0) for status in Status}

    async def close(self) -> None:
        """Finish what is being written and release the database.

        While a suspect is still Pending, the crash that made it one is not over.
        """
        oldest = await self.pending(0, 1)
        suspected = bool(oldest) and oldest[0].seq <= self.suspects_end
        await self._readers.close()
        await self._writer.close()
        self._lock.release(well=not suspected)

    def snapshot(self) -> Snapshot:
        """Everything that a backup holds, as it is when it is entered."""
        return Snapshot(self._path)

    def restoration(self) -> Restoration:
        """The way in for a backup's results."""
        return Restoration(self._writer)

    async def _change(self, work: Callable[[apsw.Connection], T]) -> T:
        """Run what may note changes."""
        answer = await self._writer.run(work)
        self.journal.news.set()
        return answer
