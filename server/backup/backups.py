"""The backups: the service behind import and export."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Literal

from typing_extensions import TypedDict

from server.backup.exporter import Exporter
from server.backup.importer import Importer
from server.backup.job import Job, Work
from server.backup.steps import GiveWay, Progress
from server.errors import BackupBusyError, NoBackupError, ServerError
from server.remote import Remote, RemoteError
from server.store.sqlite import SQLiteStore

log = logging.getLogger(__name__)

ImportOnStart = Literal["if-empty", "always", "never"]

RETRY_SECONDS: Final = 5.0
"""How often the restoring at the start is tried, while the remote fails."""


class BackupFigures(TypedDict):
    """The backup: changes that it does not have yet, why, and the import or export that runs."""

    remote: str
    waiting: int
    trouble: str | None
    running: str | None


class Backups:
    """Keeps a remote like the store, and the store like the remote when asked to.

    Args:
        store: What is backed up.
        remote: Where to.
        interval: Seconds between two exports of changes, at least.
        on_imported: Called after the results were replaced.
        give_way: Awaited between any two short steps of imports and exports of everything.
    """

    def __init__(
        self,
        store: SQLiteStore,
        remote: Remote,
        interval: float,
        on_imported: Callable[[], Awaitable[None]],
        give_way: GiveWay,
    ) -> None:
        self._store = store
        self._remote = remote
        self._on_imported = on_imported
        self._importer = Importer(store, remote, give_way)
        self._job: Job | None = None
        self.exporter: Final = Exporter(store, remote, interval, give_way)

    async def export_data(self, request_id: str | None = None, *, to_delete: bool = False) -> bool:
        """Back up one result or, without an id, all; or the deletion of one, or of all.

        What changes is exported by itself, soon; this is for who can't wait. A deletion is that of
        the store, which comes first.

        Returns:
            Whether the remote has it; if not, the log says why.
        """
        if request_id is None and not to_delete:
            return await _succeeds(self.start_export)
        return await self._export_one(request_id)

    async def import_data(self) -> bool:
        """Replace the results by those of the backup: all of it, or nothing.

        Returns:
            Whether they are replaced; if not, the log says why.
        """
        return await _succeeds(self.start_import)

    def start_export(self) -> Job:
        """Begin to back everything up.

        Raises:
            BackupBusyError: An import or export is running.
        """
        return self._start("export", self._export_all)

    def start_import(self) -> Job:
        """Begin to replace the results by those of the backup.

        Raises:
            BackupBusyError: An import or export is running.
        """
        return self._start("import", self._import_all)

    async def restore(self, policy: ImportOnStart) -> None:
        """Import at the start of the server, however long the remote takes to answer.

        Raises:
            BackupUnusableError: There is a backup that can't be used.
        """
        if not await self._is_to_restore(policy):
            return
        while True:
            try:
                log.info("import: %s", await self._import_all(lambda _, __: None))
            except NoBackupError:
                pass  # it begins
            except RemoteError as error:
                self.exporter.trouble.begin(str(error))
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self.exporter.trouble.end()
            return

    async def run(self) -> None:
        """Export what changes, until cancelled."""
        await self.exporter.run()

    async def flush(self) -> None:
        """Export what waits before the server stops, if the remote takes it."""
        if not self.exporter.trouble.sentence:
            with contextlib.suppress(RemoteError, ServerError):
                await self.exporter.flush()

    async def close(self) -> None:
        """Give up what runs, and end the connections."""
        if self._job:
            await self._job.cancel()
        await self._remote.close()

    async def status(self) -> BackupFigures:
        """The figures."""
        return {
            "remote": self._remote.url,
            "waiting": await self._store.journal.waiting(),
            "trouble": self.exporter.trouble.sentence,
            "running": self._job.name if self._job and not self._job.ended else None,
        }

    def _start(self, name: str, work: Work) -> Job:
        if self._job and not self._job.ended:
            raise BackupBusyError(
                f"An {self._job.name} is running ({self._job.done} of {self._job.total} done):"
                " wait for its end."
            )
        self._job = Job(name, work)
        return self._job

    async def _export_all(self, progress: Progress) -> str:
        results = await self.exporter.export_all(progress)
        return f"{_count(results)} backed up to {self._remote.url}."

    async def _import_all(self, progress: Progress) -> str:
        async with self.exporter.turn:
            results = await self._importer.run(progress)
        await self._on_imported()
        return f"{_count(results)} imported from {self._remote.url}."

    async def _export_one(self, request_id: str | None) -> bool:
        try:
            await self._store.journal.touch(request_id)
            await self.exporter.flush()
        except (RemoteError, ServerError) as error:
            log.warning("%s", error)
            return False
        return True

    async def _is_to_restore(self, policy: ImportOnStart) -> bool:
        if policy == "always":
            return True
        used = await self._store.journal.waiting() or any((await self._store.counts()).values())
        return policy == "if-empty" and not used


async def _succeeds(start: Callable[[], Job]) -> bool:
    try:
        job = start()
    except BackupBusyError as error:
        log.warning("%s", error)
        return False
    return await job.succeeds()


def _count(results: int) -> str:
    return "1 result is" if results == 1 else f"{results} results are"
