"""Raw SQLite: the bytes of an accepted upload, in groups of one durable commit each, nothing else.

`python -m tools.bench.commits FOLDER FILE SECONDS GROUP` prints the uploads a second.
"""

import json
import subprocess
import sys
import time
import uuid
from pathlib import Path

import apsw

_SCHEMA = """
    CREATE TABLE predictions (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, request_id TEXT NOT NULL UNIQUE,
        status TEXT NOT NULL, created_at INTEGER NOT NULL, response BLOB NOT NULL
    ) STRICT;
    CREATE TABLE images (seq INTEGER PRIMARY KEY, name TEXT NOT NULL, data BLOB NOT NULL) STRICT;
"""


def measure(folder: Path, file: Path, seconds: float, group: int) -> float:
    """Uploads a second, by a process of its own."""
    command = [sys.executable, "-m", "tools.bench.commits", str(folder), str(file)]
    done = subprocess.run(  # noqa: S603 - this very module
        [*command, str(seconds), str(group)],
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
        cwd=Path(__file__).parents[2],
    )
    found: float = json.loads(done.stdout)
    return found


def main(folder: Path, file: Path, seconds: float, group: int) -> None:
    """Commit group after group and print the rate."""
    data = file.read_bytes()
    database = apsw.Connection(str(folder / "raw.db"))
    database.pragma("journal_mode", "wal")
    database.pragma("synchronous", "full")
    database.execute(_SCHEMA)
    count, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < seconds:
        database.execute("BEGIN IMMEDIATE")
        for _ in range(group):
            database.execute(
                "INSERT INTO predictions (request_id, status, created_at, response)"
                " VALUES (?, 'Pending', 1, ?)",
                (str(uuid.uuid4()), b"{}"),
            )
            row = database.last_insert_rowid()
            database.execute("INSERT INTO images VALUES (?, ?, ?)", (row, file.name, data))
        database.execute("COMMIT")
        count += group
    database.close()
    print(json.dumps(count / took))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
