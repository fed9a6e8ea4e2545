"""Snapshots on the remote: making one, and removing what it makes needless."""

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Final

from server.backup import manifest
from server.backup.layout import CHANGES, SNAPSHOTS, group, is_snapshot_of, snapshot_key
from server.backup.manifest import Listed, Manifest
from server.backup.segment import SegmentWriter
from server.backup.steps import GiveWay, Progress
from server.remote import Object, Remote, RemoteError
from server.store.snapshot import Snapshot
from server.store.sqlite import SQLiteStore

log = logging.getLogger(__name__)

ABANDONED_SECONDS: Final = 86_400
"""Age from which a snapshot that no manifest names is nobody's: its server was killed over it."""

DELETED_AT_ONCE: Final = 1000


class Snapshots:
    """Makes snapshots for one writer, one at a time.

    Args:
        store: What is backed up.
        remote: Where to.
        writer: Under whose name.
        give_way: Awaited between any two short steps, so that predicts go first.
    """

    def __init__(self, store: SQLiteStore, remote: Remote, writer: str, give_way: GiveWay) -> None:
        self._store = store
        self._remote = remote
        self._writer = writer
        self._give_way = give_way
        self._made = 0

    async def make(self, progress: Progress) -> int:
        """Write everything there is, then make it count; how many results that is.

        Args:
            progress: Told of results.

        Raises:
            BackupUnusableError: The manifest that is there can't be read.
            RemoteError: The remote fails; what was backed up before still is.
        """
        self._made += 1
        async with self._store.snapshot() as view:
            covers = {
                name: last for name, last in view.absorbed.items() if not name.startswith(SNAPSHOTS)
            }
            upload = _Upload(view, self._writer, progress, self._give_way)
            key = snapshot_key(self._writer, self._made)
            await self._remote.write_stream(key, upload.pieces())
        listed = upload.listed(key, covers)
        # noted first: should its being listed not be confirmed, the next snapshot replaces it
        await self._store.journal.absorb({key: 0})
        new = await manifest.add(self._remote, listed, view.absorbed)
        await self._store.journal.exported(view.last_change)
        await self._tidy(new)
        return listed.results

    async def _tidy(self, listed: Manifest) -> None:
        """Remove what no import will read. What remains does no harm: next time, then."""
        try:
            await self._remove(CHANGES, lambda each: _is_covered(each, listed))
            await self._remove(SNAPSHOTS, lambda each: self._is_nobodys(each, listed))
        except RemoteError as error:
            log.warning("old files of the backup remain for now: %s", error)

    async def _remove(self, prefix: str, is_needless: Callable[[Object], bool]) -> None:
        keys = []
        async for each in self._remote.list(prefix):
            if is_needless(each):
                keys.append(each.key)
            if len(keys) == DELETED_AT_ONCE:
                await self._remote.delete(keys)
                keys = []
        if keys:
            await self._remote.delete(keys)

    def _is_nobodys(self, each: Object, listed: Manifest) -> bool:
        if any(each.key == snapshot.key for snapshot in listed.snapshots):
            return False
        old = each.modified < time.time() - ABANDONED_SECONDS
        return old or is_snapshot_of(each.key, self._writer)


def _is_covered(each: Object, listed: Manifest) -> bool:
    found = group(each.key)
    return found is not None and listed.covers(found)


class _Upload:
    """A snapshot on its way: compressed in threads, counted and hashed as it goes."""

    def __init__(self, view: Snapshot, writer: str, progress: Progress, give_way: GiveWay) -> None:
        self._view = view
        self._give_way = give_way
        self._writer = writer
        self._progress = progress
        self._segment = SegmentWriter()
        self._hash = hashlib.sha256()
        self._results = self._bytes = 0

    async def pieces(self) -> AsyncIterator[bytes]:
        yield self._pass(self._segment.begin({"writer": self._writer}))
        async for piece in self._view.pieces():
            yield self._pass(await asyncio.to_thread(self._segment.add, piece.text, piece.lines))
            self._results += piece.results
            self._progress(self._results, self._view.results)
            await self._give_way()
        yield self._pass(self._segment.end())

    def listed(self, key: str, covers: dict[str, int]) -> Listed:
        return Listed(
            key=key,
            created_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            results=self._results,
            lines=self._segment.lines,
            bytes=self._bytes,
            sha256=self._hash.hexdigest(),
            covers=covers,
        )

    def _pass(self, data: bytes) -> bytes:
        self._hash.update(data)
        self._bytes += len(data)
        return data
