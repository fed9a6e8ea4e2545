"""The store on SQLite: one writer, a few readers, one file."""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import apsw

from server.prediction import Prediction, Status, Timings
from server.store import Cursor, Page, Pending, Query, Upload, statements
from server.store.lock import DataDirLock
from server.store.schema import NewerSchemaError, migrate
from server.store.writer import Writer

T = TypeVar("T")

READERS: Final = 2
CHECK_SECONDS: Final = 0.5
"""How long the start may look for corruption: all of a small file, the beginning of a large one."""


class StoreUnusableError(Exception):
    """The database can't be opened: corrupt, foreign or of a newer server."""


class SQLiteStore:
    """Predictions in `{data_dir}/predictions.db` (WAL, `synchronous=FULL`).

    Args:
        data_dir: Made when it does not exist.
        on_broken: Told when a commit failed and nothing more may be promised (`Writer`).

    Raises:
        DataDirInUseError: Another server has the directory.
        StoreUnusableError: The database can't be used; the sentence says why.
    """

    def __init__(self, data_dir: Path, on_broken: Callable[[BaseException], None]) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        self._lock = DataDirLock(data_dir)
        self._path = data_dir / "predictions.db"
        try:
            self._writer = Writer(_open_checked(self._path), on_broken)
        except BaseException:
            self._lock.release()
            raise
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")
        self._local = threading.local()

    async def add(self, prediction: Prediction, upload: Upload | None = None) -> None:
        """Record a new prediction, with the upload it will be run on if it is Pending."""

        def work(connection: apsw.Connection) -> None:
            connection.execute(statements.INSERT, _to_row(prediction))
            if upload:
                seq = connection.last_insert_rowid()
                row = (seq, upload.name, upload.save_locally, upload.data)
                connection.execute(statements.INSERT_IMAGE, row)

        await self._writer.run(work)

    async def finish(self, prediction: Prediction) -> bool:
        """Replace a Pending prediction by its finished form and drop its upload."""
        request_id, status, _, *rest = _to_row(prediction)

        def work(connection: apsw.Connection) -> bool:
            row = connection.execute(statements.FINISH, (status, *rest, request_id)).fetchall()
            connection.executemany(statements.DELETE_IMAGE, row)
            return bool(row)

        return await self._writer.run(work)

    async def get(self, request_id: str) -> Prediction | None:
        """The prediction of that id."""
        rows = await self._read(statements.GET, (request_id,))
        return _from_row(*rows[0]) if rows else None

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
            "limit": query.limit,
        }
        rows = await self._read(statement, values)
        predictions = [_from_row(*row[:-1]) for row in rows]
        if len(rows) < query.limit:
            return Page(predictions, None)
        return Page(predictions, Cursor(predictions[-1].created_at, rows[-1][-1]))

    async def pending(self, after: int, limit: int) -> list[Pending]:
        """Accepted predictions in the order of their acceptance, from `after` (a `seq`) on."""
        rows = await self._read(statements.PENDING_AFTER, (after, limit))
        return [Pending(*row) for row in rows]

    async def upload(self, request_id: str) -> tuple[Prediction, Upload] | None:
        """A Pending prediction and the upload it waits to be run on."""
        for name, save_locally, data, *row in await self._read(
            statements.GET_UPLOAD, (request_id,)
        ):
            return _from_row(*row), Upload(data, name, bool(save_locally))
        return None

    async def delete(self, request_id: str) -> bool:
        """Delete a prediction. False if there is none."""

        def work(connection: apsw.Connection) -> bool:
            row = connection.execute(statements.DELETE, (request_id,)).fetchall()
            connection.executemany(statements.DELETE_IMAGE, row)
            return bool(row)

        return await self._writer.run(work)

    async def delete_all(self) -> int:
        """Delete every prediction; how many there were."""

        def work(connection: apsw.Connection) -> int:
            connection.execute(statements.DELETE_ALL_IMAGES)
            connection.execute(statements.DELETE_ALL)
            return connection.changes()

        return await self._writer.run(work)

    async def counts(self) -> Mapping[Status, int]:
        """How many predictions have each status."""
        found = {Status(status): n for status, n in await self._read(statements.COUNTS, ())}
        return {status: found.get(status, 0) for status in Status}

    async def close(self) -> None:
        """Finish what is being written and release the database."""
        await asyncio.to_thread(self._readers.shutdown)
        await self._writer.close()
        self._lock.release()

    async def _read(
        self, statement: str, values: "apsw.Bindings"
    ) -> list[Any]:  # rows of any types
        def work() -> list[Any]:
            if not hasattr(self._local, "connection"):
                self._local.connection = _connect(self._path, apsw.SQLITE_OPEN_READONLY)
            rows: list[Any] = self._local.connection.execute(statement, values).fetchall()
            return rows

        return await asyncio.get_running_loop().run_in_executor(self._readers, work)


def _open_checked(path: Path) -> apsw.Connection:
    """A connection for the writer, to a database that is ours, whole and of the newest schema."""
    try:
        connection = _connect(path, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
        connection.transaction_mode = "IMMEDIATE"  # a deferred BEGIN fails when it turns to writing
        migrate(connection)
        damage = _quick_check(connection)
    except (apsw.NotADBError, apsw.CorruptError) as error:
        damage = str(error)
    except NewerSchemaError as error:
        raise StoreUnusableError(
            f"{path} was written by a newer server ({error}):"
            " start that one, or choose another --data-dir"
        ) from error
    except apsw.Error as error:
        raise StoreUnusableError(f"{path} can't be opened: {error}") from error
    if damage:
        raise StoreUnusableError(
            f"{path} is corrupt or not this server's database ({damage}):"
            " put a backup in its place, or choose another --data-dir"
        )
    return connection


def _connect(path: Path, flags: int) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=flags)
    connection.set_busy_timeout(5000)
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")  # what was answered survives a power cut
    return connection


def _quick_check(connection: apsw.Connection) -> str | None:
    """What SQLite finds wrong with the file, within `CHECK_SECONDS`."""
    end = time.monotonic() + CHECK_SECONDS
    connection.set_progress_handler(lambda: time.monotonic() > end, 1000)
    try:
        found = connection.execute("PRAGMA quick_check(1)").fetchall()
    except apsw.InterruptError:
        return None
    finally:
        connection.set_progress_handler(None)
    return None if found == [("ok",)] else str(found[0][0])


def _to_row(prediction: Prediction) -> tuple[Any, ...]:
    timings = prediction.timings
    return (
        prediction.request_id,
        prediction.status,
        prediction.created_at,
        prediction.response,
        prediction.error,
        prediction.completed_at,
        prediction.model,
        *((timings.queued, timings.decode, timings.predict) if timings else (None, None, None)),
    )


def _from_row(  # noqa: PLR0913, PLR0917 - a row's columns, in the order of the statements
    request_id: str,
    status: str,
    created_at: int,
    response: bytes,
    error: str | None,
    completed_at: int | None,
    model: str | None,
    queued: float | None,
    decode: float | None,
    predict: float | None,
) -> Prediction:
    timings = None
    if queued is not None and decode is not None and predict is not None:
        timings = Timings(queued, decode, predict)
    return Prediction(
        request_id, Status(status), created_at, response, error, completed_at, model, timings
    )
