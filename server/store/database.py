"""The database file: opening it, and refusing one that can't be used."""

import contextlib
import time
from pathlib import Path
from typing import Any, Final

import apsw

from server.store.schema import NewerSchemaError, check_owner, migrate

CHECK_SECONDS: Final = 0.5
"""How long the start may look for corruption: all of a small file, the beginning of a large one."""


class StoreUnusableError(Exception):
    """The database can't be opened: corrupt, foreign or of a newer server."""


def open_checked(path: Path) -> apsw.Connection:
    """A connection for the writer, to a database that is ours, whole and of the newest schema.

    Raises:
        StoreUnusableError: It is not, or can't be opened.
    """
    try:
        _check_owner(path)
        connection = connect(path, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
        migrate(connection)
        _empty_log(connection)
        damage = _quick_check(connection)
    except (apsw.NotADBError, apsw.CorruptError) as error:
        damage = str(error)
    except NewerSchemaError as error:
        raise StoreUnusableError(
            f"{path} was written by a newer server ({error}):"
            " start that one, or choose another --data-dir"
        ) from error
    except apsw.Error as error:
        raise StoreUnusableError(
            f"{path} can't be opened ({error}): put it right, or choose another --data-dir"
        ) from error
    if damage:
        raise StoreUnusableError(
            f"{path} is corrupt or not this server's database ({damage}):"
            " put a backup in its place and remove the -wal file, or choose another --data-dir"
        )
    return connection


def _check_owner(path: Path) -> None:
    """Look at a file before anything is written to it."""
    if not path.exists():
        return
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)  # it may be another program's
        check_owner(connection)


def connect(path: Path, flags: int) -> apsw.Connection:
    """A connection with the settings that durability rests on.

    Args:
        path: The database.
        flags: SQLite's open flags.
    """
    connection = apsw.Connection(str(path), flags=flags)
    connection.set_busy_timeout(5000)
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")  # what was answered survives a power cut
    return connection


def fetch(
    connection: apsw.Connection, statement: str, values: "apsw.Bindings | None" = None
) -> list[Any]:
    """All rows of a statement; each column has the type that the schema gives it."""
    return connection.execute(statement, values).fetchall()


def _empty_log(connection: apsw.Connection) -> None:
    """Move what the log holds into the database.

    After an fsync that failed, part of the log may be readable but never reach the disk: what is
    written behind it would be lost in a power cut.
    """
    with contextlib.suppress(apsw.BusyError, apsw.FullError):
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)


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
    return None if found == [("ok",)] else str(found[0][0]).splitlines()[-1]
