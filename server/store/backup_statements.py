"""Every SQL statement of the SQLite store that serves backups, by name."""

from typing import Final

from server.store import lines, rows

ADD_CHANGE: Final = "INSERT INTO changes (request_id) VALUES (?)"

ADD_TOMBSTONE: Final = "INSERT OR IGNORE INTO tombstones (request_id, deleted_at) VALUES (?, ?)"

CLEAR: Final = """
UPDATE clearing SET cleared_at =
    max(?, cleared_at, (SELECT ifnull(max(completed_at), 0) FROM predictions))
"""

DELETE_ALL_CHANGES: Final = "DELETE FROM changes"

DELETE_ALL_TOMBSTONES: Final = "DELETE FROM tombstones"

DELETE_TOMBSTONES_BEFORE: Final = "DELETE FROM tombstones WHERE deleted_at < ?"

COUNT_CHANGES: Final = "SELECT count(*) FROM changes"

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
    "UPDATE clearing SET cleared_at = :cleared_at",
    """
    UPDATE sqlite_sequence
    SET seq = (SELECT seq FROM sqlite_sequence WHERE name = 'predictions')
    WHERE name = 'imported'
    """,
    "DROP TABLE predictions",
    "ALTER TABLE imported RENAME TO predictions",
)
