"""The exporter: brings what changed to the remote, in groups, for as long as it takes."""

import asyncio
import random
from typing import Final, NamedTuple

from server.backup.layout import CHANGES, Group, new_writer
from server.backup.segment import pack
from server.backup.snapshots import Snapshots
from server.backup.steps import GiveWay, Progress
from server.backup.trouble import Trouble
from server.errors import ServerError
from server.remote import Remote, RemoteError
from server.store.sqlite import SQLiteStore

GROUP_CHANGES: Final = 1000
GROUP_BYTES: Final = 8 * 2**20

MAX_PAUSE: Final = 60.0
"""Seconds between two tries, at most, while the remote fails."""

MAX_GROUPS: Final = 10_000
"""Groups after which a snapshot is made in their place: an import reads them one by one."""

MAX_WAITING: Final = 100_000
"""Changes that wait after which a snapshot is the shorter way."""


class _Sent(NamedTuple):
    """A group that the remote may have: what is tried again is the same."""

    last: int
    data: bytes


class Exporter:
    """The one of this process who writes to the remote.

    Args:
        store: Whose changes are exported.
        remote: Where to.
        interval: Seconds between two groups, at least.
        give_way: Awaited between any two short steps of a snapshot, so that predicts go first.

    Attributes:
        turn: Held while the remote is written, or read for an import.
        trouble: What stands against it.
    """

    def __init__(
        self, store: SQLiteStore, remote: Remote, interval: float, give_way: GiveWay
    ) -> None:
        self._journal = store.journal
        self._remote = remote
        self._interval = interval
        self._writer = new_writer()
        self._snapshots = Snapshots(store, remote, self._writer, give_way)
        self._number = 1  # of the next group
        self._groups = 0  # there are, about, that no snapshot covers
        self._sent: _Sent | None = None
        self._joined = self._claimed = False
        self.turn: Final = asyncio.Lock()
        self.trouble: Final = Trouble(remote.url)

    async def run(self) -> None:
        """Export what changes, until cancelled. What fails is tried again, less and less often."""
        failures = 0
        while True:
            await self._journal.news.wait()
            self._journal.news.clear()
            try:
                while await self._export_next():
                    failures = 0
                    await asyncio.sleep(self._interval)
            except (RemoteError, ServerError) as error:
                self.trouble.begin(str(error))
                self._journal.news.set()
                pause = min(MAX_PAUSE, max(self._interval, 0.5) * 2**failures)
                failures = min(failures + 1, 10)
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - out of step

    async def export_all(self, progress: Progress) -> int:
        """Back everything up as a new snapshot; how many results it holds.

        Raises:
            BackupUnusableError: What is there is no backup that could be replaced.
            RemoteError: The remote fails. What was backed up before still is.
        """
        async with self.turn:
            results = await self._export_all(progress)
            self.trouble.end()
            return results

    async def flush(self) -> None:
        """Export what waits by now, without a pause.

        Raises:
            RemoteError, ServerError: It can't be done now; `run` goes on trying.
        """
        last = await self._journal.last()
        while await self._journal.waits(last) and await self._export_next():
            pass

    async def _export_next(self) -> bool:
        """Export a group, or all if that is shorter; False: there was nothing."""
        async with self.turn:
            if not self._joined:
                await self._join()
            if self._groups >= MAX_GROUPS or await self._journal.waiting() > MAX_WAITING:
                await self._export_all(lambda _, __: None)
            elif not await self._export_group():
                return False
            self.trouble.end()
            return True

    async def _join(self) -> None:
        """See what is there. A remote that takes another's place gets what that one had."""
        self._groups = len([each async for each in self._remote.list(CHANGES)])
        before = await self._journal.remote()
        self._claimed = before == self._remote.url
        if before and not self._claimed:
            await self._export_all(lambda _, __: None)
        self._joined = True

    async def _claim(self) -> None:
        """Remember that this remote has what is exported."""
        if not self._claimed:
            await self._journal.belongs_to(self._remote.url)
            self._claimed = True

    async def _export_group(self) -> bool:
        sent = self._sent = self._sent or await self._prepare()
        if not sent:
            return False
        key = Group(self._writer, self._number).key
        await self._remote.write(key, sent.data, replaces=None)
        await self._claim()
        await self._journal.exported(sent.last)
        self._number += 1
        self._groups += 1
        self._sent = None
        return True

    async def _prepare(self) -> _Sent | None:
        changes = await self._journal.changes(GROUP_CHANGES, GROUP_BYTES)
        if not changes:
            return None
        # noted before it is written, in case that is not confirmed; never before it is made, as a
        # disk that is put back to an earlier copy would claim what it lacks
        await self._journal.absorb({self._writer: self._number})
        header = {"writer": self._writer, "number": self._number}
        return _Sent(changes.last, await asyncio.to_thread(pack, header, changes.lines))

    async def _export_all(self, progress: Progress) -> int:
        results = await self._snapshots.make(progress)
        await self._claim()
        self._groups = 0
        return results
