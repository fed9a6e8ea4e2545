"""The importer: reads a whole backup, sees that it is whole, and puts it in place."""

import asyncio
import contextlib
import hashlib
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from itertools import islice
from typing import Final

from server.backup import manifest
from server.backup.layout import CHANGES, Group, group
from server.backup.manifest import Listed, Manifest
from server.backup.segment import unpack
from server.backup.steps import GiveWay, Progress
from server.errors import BackupUnusableError, NoBackupError, StorageFullError
from server.remote import MissingError, Remote
from server.store.restoration import AT_ONCE, Restoration
from server.store.sqlite import SQLiteStore

TRIES: Final = 10
"""How often reading begins again because another server made a snapshot meanwhile."""

READ_AT_ONCE: Final = 4
"""Groups of changes that are fetched at the same time: bounds what stands in memory."""


class _MovedError(Exception):
    """What was being read is not there any more: a newer snapshot has it. Or it never was."""


class Importer:
    """Replaces the results by those of the backup: all of it, or nothing.

    Args:
        store: Whose results.
        remote: Where the backup is.
        give_way: Awaited between any two short steps, so that predicts go first.
    """

    def __init__(self, store: SQLiteStore, remote: Remote, give_way: GiveWay) -> None:
        self._store = store
        self._remote = remote
        self._give_way = give_way

    async def run(self, progress: Progress) -> int:
        """Import; how many results the backup holds.

        Args:
            progress: Told how much of the backup is read.

        Raises:
            NoBackupError: There is none.
            BackupUnusableError: It is truncated, corrupt, foreign or of a newer server.
            RemoteError: The remote fails.
        """
        why = ""
        for _ in range(TRIES):
            try:
                return await self._run(progress)
            except _MovedError as error:
                why = str(error)
        raise BackupUnusableError(f"The backup at {self._remote.url} {why}. Nothing was changed.")

    async def _run(self, progress: Progress) -> int:
        listed, groups = await self._survey()
        restoration = self._store.restoration()
        await restoration.begin()
        try:
            meter = _Meter(progress, sum(each.lines for each in listed.snapshots) + len(groups))
            for snapshot in listed.snapshots:
                await self._read_snapshot(snapshot, restoration, meter)
            await self._read_groups(groups, restoration, meter)
            await restoration.swap(_read(listed, groups))
        except BaseException:
            with contextlib.suppress(StorageFullError):  # the next import drops it
                await asyncio.shield(restoration.abandon())
            raise
        return restoration.results

    async def _survey(self) -> tuple[Manifest, list[Group]]:
        """What there is to read.

        Changes are removed only once a manifest covers them: if that was the same before and after
        they were listed, none is missing from the list.
        """
        version = await manifest.read(self._remote)
        groups = [
            found
            async for each in self._remote.list(CHANGES)
            if (found := group(each.key)) and not version.manifest.covers(found)
        ]
        if (await manifest.read(self._remote)).tag != version.tag:
            raise _MovedError("is changed by other servers all the time")
        if not version.manifest.snapshots and not groups:
            raise NoBackupError(
                f"There is no backup at {self._remote.url}: export first, or see that --remote is"
                " right."
            )
        _require_gapless(groups, version.manifest.covered())
        return version.manifest, groups

    async def _read_snapshot(
        self, listed: Listed, restoration: Restoration, meter: "_Meter"
    ) -> None:
        name = f"{self._remote.url}/{listed.key}"
        hasher = hashlib.sha256()
        before = restoration.results
        total = 0
        try:
            async with (
                aclosing(self._remote.stream(listed.key)) as pieces,
                aclosing(_hashed(pieces, hasher)) as hashed,
                aclosing(unpack(name, hashed)) as batches,
            ):
                async for lines in batches:
                    total += len(lines)
                    await self._add(lines, restoration)
                    meter.add(len(lines))
        except MissingError:
            raise _missing(listed.key) from None
        found = hasher.hexdigest(), total, restoration.results - before
        if found != (listed.sha256, listed.lines, listed.results):
            raise BackupUnusableError(
                f"{name} is not what the manifest says it is. Nothing was changed."
            )

    async def _read_groups(
        self, groups: Sequence[Group], restoration: Restoration, meter: "_Meter"
    ) -> None:
        remaining = iter(groups)
        while some := list(islice(remaining, READ_AT_ONCE)):
            try:
                blobs = await asyncio.gather(*(self._remote.read(each.key) for each in some))
            except MissingError:
                raise _missing("a group of changes") from None
            for each, blob in zip(some, blobs, strict=True):
                name = f"{self._remote.url}/{each.key}"
                async with aclosing(unpack(name, _one(blob.data))) as batches:
                    async for lines in batches:
                        await self._add(lines, restoration)
                meter.add(1)

    async def _add(self, lines: Sequence[bytes], restoration: Restoration) -> None:
        for start in range(0, len(lines), AT_ONCE):
            await restoration.add(lines[start : start + AT_ONCE])
            await self._give_way()


class _Meter:
    """Counts what is done: lines of snapshots, and groups."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self.done = 0

    def add(self, number: int) -> None:
        self.done += number
        self._progress(self.done, self._total)


def _read(listed: Manifest, groups: Sequence[Group]) -> dict[str, int]:
    """The files of a backup as the store remembers them (`Journal.absorb`)."""
    read = listed.covered()
    for each in groups:
        read[each.writer] = max(each.number, read.get(each.writer, 0))
    return read | {each.key: 0 for each in listed.snapshots}


def _require_gapless(groups: Sequence[Group], covered: dict[str, int]) -> None:
    """See that no writer's group is missing between those that are there."""
    numbers = defaultdict(list)
    for each in groups:
        numbers[each.writer].append(each.number)
    for writer, found in numbers.items():
        first = covered.get(writer, 0) + 1
        missing = set(range(first, max(found) + 1)) - set(found)
        if missing:
            raise _missing(Group(writer, min(missing)).key)  # or the list was not of one moment


def _missing(what: str) -> _MovedError:
    return _MovedError(f"lacks {what}, which somebody removed")


async def _hashed(pieces: AsyncIterator[bytes], hasher: "hashlib._Hash") -> AsyncGenerator[bytes]:
    async for piece in pieces:
        hasher.update(piece)
        yield piece


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data
