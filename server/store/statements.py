"""Every SQL statement of the SQLite store, by name."""

from typing import Final

from server.store import rows

_COLUMNS_OF_PREDICTIONS = ", ".join(
    f"predictions.{name.strip()}" for name in rows.COLUMNS.split(",")
)

# NULL stays NULL; a clock that was put back must not make a new result look like a cleared one
_COMPLETED_AT = "max(?, (SELECT cleared_at + 1 FROM clearing))"

INSERT: Final = f"""
INSERT INTO predictions ({rows.COLUMNS}) VALUES (?, ?, ?, ?, ?, {_COMPLETED_AT}, ?, ?, ?, ?)
"""

INSERT_IMAGE: Final = "INSERT INTO images (seq, name, save_locally, data) VALUES (?, ?, ?, ?)"

FINISH: Final = f"""
UPDATE predictions
SET status = ?, response = ?, error = ?, completed_at = {_COMPLETED_AT}, model = ?,
    queued_ms = ?, decode_ms = ?, predict_ms = ?
WHERE request_id = ? AND status IN ({rows.OPEN})
RETURNING seq
"""

COUNT_ATTEMPT: Final = f"""
UPDATE predictions SET attempts = attempts + ?
WHERE request_id = ? AND status IN ({rows.OPEN})
RETURNING attempts
"""

DELETE_IMAGE: Final = "DELETE FROM images WHERE seq = ?"

DELETE: Final = "DELETE FROM predictions WHERE request_id = ? RETURNING seq, status"

DELETE_KEY: Final = "DELETE FROM idempotency_keys WHERE seq = ?"

DELETE_ALL: Final = "DELETE FROM predictions"

DELETE_ALL_IMAGES: Final = "DELETE FROM images"

DELETE_ALL_KEYS: Final = "DELETE FROM idempotency_keys"

INSERT_KEY: Final = """
INSERT OR REPLACE INTO idempotency_keys (key, fingerprint, seq, created_at) VALUES (?, ?, ?, ?)
"""

GET_BY_KEY: Final = f"""
SELECT fingerprint, {_COLUMNS_OF_PREDICTIONS}
FROM idempotency_keys JOIN predictions USING (seq)
WHERE key = ? AND idempotency_keys.created_at >= ?
"""

DELETE_KEYS_BEFORE: Final = "DELETE FROM idempotency_keys WHERE created_at < ?"

DELETE_FINISHED_BEFORE: Final = f"""
DELETE FROM predictions WHERE seq IN (
    SELECT seq FROM predictions
    WHERE (created_at, seq) <= (?, ?) AND status NOT IN ({rows.OPEN})
    ORDER BY created_at, seq LIMIT ?
)
RETURNING seq, request_id
"""

NTH_NEWEST: Final = """
SELECT created_at, seq FROM predictions ORDER BY created_at DESC, seq DESC LIMIT 1 OFFSET ?
"""

GET: Final = f"SELECT {rows.COLUMNS} FROM predictions WHERE request_id = ?"

GET_UPLOAD: Final = f"""
SELECT name, save_locally, data, attempts, {rows.COLUMNS}
FROM images JOIN predictions USING (seq) WHERE request_id = ?
"""

PENDING_AFTER: Final = """
SELECT seq, request_id FROM images CROSS JOIN predictions USING (seq) WHERE seq > ?
ORDER BY seq LIMIT ?
"""

OLDEST_PENDING: Final = """
SELECT created_at FROM images CROSS JOIN predictions USING (seq) ORDER BY seq LIMIT 1
"""

COUNT_PENDING: Final = f"SELECT count(*) FROM predictions WHERE status IN ({rows.OPEN})"

LAST_SEQ: Final = "SELECT ifnull(max(seq), 0) FROM predictions"

COUNTS: Final = "SELECT status, count(*) FROM predictions GROUP BY status"


def page(*, status: bool, since: bool, before: bool) -> str:
    """Newest first, with the named conditions: `:status`, `:since`, `:before_time`, `:before_seq`.

    The statement is built from fixed parts only; values are bound.
    """
    conditions = ["TRUE"]
    if status:
        conditions.append("status = :status")
    if since:
        conditions.append("created_at >= :since")
    if before:
        conditions.append("(created_at, seq) < (:before_time, :before_seq)")
    return (
        f"SELECT {rows.COLUMNS}, seq FROM predictions WHERE {' AND '.join(conditions)}"
        " ORDER BY created_at DESC, seq DESC LIMIT :limit"
    )
