"""The layout of a backup: which key holds what.

`MANIFEST.json` names the snapshots. `snapshot/{writer}-{n}.ndjson.zst` is everything a server had
at one moment; `changes/{writer}/{n}.ndjson.zst` a group of its later changes, numbered from 1 on
without gaps. A writer is one run of a server: no two ever write under one key.
"""

import re
import secrets
from datetime import UTC, datetime
from typing import Final, NamedTuple

MANIFEST: Final = "MANIFEST.json"
SNAPSHOTS: Final = "snapshot/"
CHANGES: Final = "changes/"
_SUFFIX: Final = ".ndjson.zst"
_GROUP: Final = re.compile(r"changes/([0-9TZ]+-[0-9a-f]+)/(\d+)\.ndjson\.zst")


class Group(NamedTuple):
    """A group of changes: who wrote it, and its number."""

    writer: str
    number: int

    @property
    def key(self) -> str:
        """Where it is."""
        return f"{CHANGES}{self.writer}/{self.number:08}{_SUFFIX}"


def group(key: str) -> Group | None:
    """The group that a key holds; None: none."""
    match = _GROUP.fullmatch(key)
    return Group(match[1], int(match[2])) if match else None


def new_writer() -> str:
    """The name of a writer that no other has, and that tells since when it writes."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def snapshot_key(writer: str, number: int) -> str:
    """Where a writer's snapshot of that number is."""
    return f"{SNAPSHOTS}{writer}-{number:04}{_SUFFIX}"


def is_snapshot_of(key: str, writer: str) -> bool:
    """Whether that writer made it."""
    return key.startswith(f"{SNAPSHOTS}{writer}-")
