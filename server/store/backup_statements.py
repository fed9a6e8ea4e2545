"""Every SQL statement of the SQLite store that serves backups, by name."""

from typing import Final

from server.store import lines, rows

ADD_CHANGE: Final = "INSERT INTO changes (request_id) VALUES (?)"

ADD_TOMBSTONE: Final = "INSERT OR IGNORE INTO tombstones (request_id, deleted_at) VALUES (?, ?)"

CLEAR: Final = """
UPDATE clearing SET cleared_at =
    max(?, cleared_at, (SELECT ifnull(max(completed_at), 0) FROM predictions))
"""

# A deletion stays: its result may be of a clock ahead of ours, completed after the clearing
DELETE_CHANGES_BUT_DELETIONS: Final = """
DELETE FROM changes
WHERE request_id IS NULL OR request_id NOT IN (SELECT request_id FROM tombstones)
"""

# but for those that the remote does not have: it may have been away for longer
DELETE_TOMBSTONES_BEFORE: Final = """
DELETE FROM tombstones WHERE deleted_at < ? AND request_id NOT IN (
    SELECT request_id FROM changes WHERE request_id IS NOT NULL
)
"""

COUNT_CHANGES: Final = "SELECT count(*) FROM changes"

A_CHANGE: Final = "SELECT 1 FROM changes WHERE seq <= ? LIMIT 1"

LAST_CHANGE: Final = "SELECT seq FROM sqlite_sequence WHERE name = 'changes'"

SIZES_OF_CHANGES: Final = f"""
SELECT changes.seq, ifnull(length(response), 0)
FROM changes LEFT JOIN predictions ON predictions.request_id = changes.request_id
WHERE changes.seq > ? AND ifnull(status NOT IN ({rows.OPEN}), TRUE)
ORDER BY changes.seq LIMIT ?
"""

LINES_OF_CHANGES: Final = f"""
SELECT CASE
    WHEN changes.request_id IS NULL THEN (SELECT {lines.CLEARING} FROM clearing)
    WHEN predictions.seq IS NOT NULL THEN {lines.RESULT}
    WHEN tombstones.seq IS NOT NULL THEN {lines.DELETION}
END
FROM changes
LEFT JOIN predictions
    ON predictions.request_id = changes.request_id AND status NOT IN ({rows.OPEN})
LEFT JOIN tombstones ON tombstones.request_id = changes.request_id
WHERE changes.seq <= ?
ORDER BY changes.seq
"""

DELETE_CHANGES: Final = "DELETE FROM changes WHERE seq <= ?"

REMOTE: Final = "SELECT url FROM remote"

SET_REMOTE: Final = "INSERT OR REPLACE INTO remote (id, url) VALUES (0, ?)"

ABSORB: Final = """
INSERT INTO absorbed (name, number) VALUES (?, ?)
ON CONFLICT (name) DO UPDATE SET number = max(number, excluded.number)
"""

ABSORBED: Final = "SELECT name, number FROM absorbed"

CLEARING_LINE: Final = f"SELECT {lines.CLEARING} FROM clearing WHERE cleared_at > 0"

TOMBSTONE_LINES: Final = f"""
SELECT group_concat(line, char(10)), count(line), max(seq)
FROM (SELECT seq, {lines.DELETION} AS line FROM tombstones WHERE seq > ? ORDER BY seq LIMIT ?)
"""

END_OF_PIECE: Final = """
SELECT max(seq) FROM (
    SELECT seq, sum(length(response) + 400) OVER (ORDER BY seq) - length(response) - 400 AS before
    FROM (SELECT seq, response FROM predictions WHERE seq > ? ORDER BY seq LIMIT ?)
) WHERE before < ?
"""

RESULT_LINES: Final = f"""
SELECT group_concat(line, char(10)), count(line) FROM (
    SELECT {lines.RESULT} AS line FROM predictions
    WHERE seq > ? AND seq <= ? AND status NOT IN ({rows.OPEN}) ORDER BY seq
)
"""

COUNT_FINISHED: Final = f"SELECT count(*) FROM predictions WHERE status NOT IN ({rows.OPEN})"

LAST_NUMBER: Final = """
SELECT ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'predictions'), 0)
"""

SHAPE: Final = """
SELECT name, sql FROM sqlite_schema WHERE tbl_name = 'predictions' AND sql IS NOT NULL
ORDER BY type DESC
"""

RESERVE: Final = """
INSERT OR REPLACE INTO sqlite_sequence (rowid, seq, name)
SELECT (SELECT rowid FROM sqlite_sequence WHERE name = ?2), ?1, ?2
"""

IMPORT: Final = f"""
INSERT INTO imported ({rows.COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (request_id) DO UPDATE SET
    status = excluded.status, created_at = excluded.created_at, response = excluded.response,
    error = excluded.error, completed_at = excluded.completed_at, model = excluded.model,
    queued_ms = excluded.queued_ms, decode_ms = excluded.decode_ms,
    predict_ms = excluded.predict_ms
WHERE excluded.completed_at > completed_at
"""

# apart, too: a backup that turns out not to be whole must not bury what is there
CREATE_IMPORTED_TOMBSTONES: Final = """
CREATE TABLE imported_tombstones (
    seq INTEGER PRIMARY KEY, request_id TEXT NOT NULL, deleted_at INTEGER NOT NULL
) STRICT
"""

IMPORT_TOMBSTONE: Final = """
INSERT INTO imported_tombstones (request_id, deleted_at) VALUES (?, ?)
"""

ADD_IMPORTED_TOMBSTONES: Final = """
INSERT OR IGNORE INTO tombstones (request_id, deleted_at)
SELECT request_id, deleted_at FROM imported_tombstones
WHERE seq > :after AND seq <= :last ORDER BY seq
"""

DROP_IMPORTED: Final = (
    "DROP TABLE IF EXISTS imported",
    "DROP TABLE IF EXISTS imported_tombstones",
)

COUNT_IMPORTED: Final = "SELECT count(*) FROM imported"

LAST_DELETIONS: Final = """
SELECT cleared_at, ifnull((SELECT max(seq) FROM tombstones), 0) FROM clearing
"""

SWEEP: Final = """
DELETE FROM imported WHERE seq > :after AND seq <= :last AND (
    completed_at <= :cleared_at OR request_id IN (SELECT request_id FROM tombstones)
)
"""

_KEPT = """
completed_at > :cleared_at
AND NOT EXISTS (SELECT * FROM tombstones WHERE tombstones.request_id = predictions.request_id)
"""

DROP_DELETED: Final = (  # since SWEEP began
    "DELETE FROM imported WHERE :cleared_at > :swept_cleared_at AND completed_at <= :cleared_at",
    """
    DELETE FROM imported
    WHERE request_id IN (SELECT request_id FROM tombstones WHERE seq > :swept_tombstone)
    """,
)

REPLACE: Final = (
    # what stays
    f"INSERT OR REPLACE INTO imported SELECT * FROM predictions WHERE status IN ({rows.OPEN})",
    f"INSERT OR REPLACE INTO imported SELECT * FROM predictions WHERE seq > :end AND {_KEPT}",
    f"""
    INSERT OR REPLACE INTO imported
    SELECT * FROM predictions WHERE request_id IN (SELECT request_id FROM changes) AND {_KEPT}
    """,
    """
    UPDATE idempotency_keys SET seq = ifnull((
        SELECT imported.seq FROM predictions JOIN imported USING (request_id)
        WHERE predictions.seq = idempotency_keys.seq
    ), seq)
    """,
    "UPDATE clearing SET cleared_at = :cleared_at",
    """
    UPDATE sqlite_sequence
    SET seq = (SELECT seq FROM sqlite_sequence WHERE name = 'predictions')
    WHERE name = 'imported'
    """,
    "DROP TABLE predictions",
    "ALTER TABLE imported RENAME TO predictions",
    "DROP TABLE imported_tombstones",
)
