"""The database's schema: numbered migrations, applied once each, in order."""

from typing import Final

import apsw

APPLICATION_ID: Final = 0x494D5352  # "IMSR": tells our file from any other SQLite database

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE predictions (
        seq          INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of acceptance, never used twice
        request_id   TEXT    NOT NULL UNIQUE,
        status       TEXT    NOT NULL CHECK (status IN ('Pending', 'Success', 'Fail')),
        created_at   INTEGER NOT NULL,                   -- milliseconds since the epoch
        response     BLOB    NOT NULL,                   -- JSON
        error        TEXT,
        completed_at INTEGER,
        model        TEXT,
        queued_ms    REAL,
        decode_ms    REAL,
        predict_ms   REAL,
        attempts     INTEGER NOT NULL DEFAULT 0          -- runs that were, or may have been, lost
    ) STRICT;
    CREATE INDEX predictions_by_time ON predictions (created_at);
    CREATE INDEX predictions_by_status ON predictions (status, created_at);
    CREATE INDEX predictions_pending ON predictions (seq) WHERE status IN ('Pending');
    -- uploads that wait for their predict; no foreign keys, so that all can be deleted at once
    CREATE TABLE images (
        seq          INTEGER PRIMARY KEY,                -- of its prediction
        name         TEXT    NOT NULL,
        save_locally INTEGER NOT NULL,
        data         BLOB    NOT NULL
    ) STRICT;
    CREATE TABLE idempotency_keys (
        key          TEXT    PRIMARY KEY,
        fingerprint  BLOB    NOT NULL,                   -- of the request that used it first
        seq          INTEGER NOT NULL UNIQUE,            -- of the prediction that answered it
        created_at   INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX idempotency_keys_by_time ON idempotency_keys (created_at);
    """,
    """
    -- what is Pending has an upload, so `images` finds it: an import replaces the table of
    -- predictions, and no statement may depend on the name of an index of it
    DROP INDEX predictions_pending;
    -- ids whose results were recorded or deleted since the last export; NULL: all were deleted
    CREATE TABLE changes (
        seq          INTEGER PRIMARY KEY AUTOINCREMENT,
        request_id   TEXT
    ) STRICT;
    INSERT INTO changes (request_id)
        SELECT request_id FROM predictions WHERE status <> 'Pending' ORDER BY seq;
    -- deletions, remembered so that no backup brings their results back
    CREATE TABLE tombstones (
        seq          INTEGER PRIMARY KEY AUTOINCREMENT,
        request_id   TEXT    NOT NULL UNIQUE,
        deleted_at   INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX tombstones_by_time ON tombstones (deleted_at);
    -- when all results were deleted last: none that was completed up to then is there
    CREATE TABLE clearing (
        id           INTEGER PRIMARY KEY CHECK (id = 0),
        cleared_at   INTEGER NOT NULL
    ) STRICT;
    INSERT INTO clearing VALUES (0, 0);
    -- which remote has all that is not in changes; a row or none
    CREATE TABLE remote (
        id           INTEGER PRIMARY KEY CHECK (id = 0),
        url          TEXT    NOT NULL
    ) STRICT;
    -- files of the remote that hold nothing which this database lacks: a snapshot, by its key, or
    -- a writer's groups of changes up to a number
    CREATE TABLE absorbed (
        name         TEXT    PRIMARY KEY,
        number       INTEGER NOT NULL
    ) STRICT;
    """,
)


class NewerSchemaError(Exception):
    """The file was written by a newer server, whose schema this one does not know."""


def check_owner(connection: apsw.Connection) -> None:
    """See that the database is ours, and not from the future.

    Raises:
        NewerSchemaError: The file's schema is newer than this server.
        apsw.NotADBError: The file is no SQLite database, or another program's.
    """
    version = connection.pragma("user_version")
    owner = connection.pragma("application_id")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()[0][0]
    if owner != APPLICATION_ID and (owner or version or tables):
        raise apsw.NotADBError("another program's")
    if version > len(MIGRATIONS):
        raise NewerSchemaError(f"schema {version}; this server knows up to {len(MIGRATIONS)}")


def migrate(connection: apsw.Connection) -> None:
    """Bring our database to the newest schema, each migration in a transaction of its own."""
    version = connection.pragma("user_version")
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        with connection:
            connection.execute(script)
            connection.pragma("application_id", APPLICATION_ID)
            connection.pragma("user_version", number)
