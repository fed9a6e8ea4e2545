"""A job: an import or export of everything, asked for by somebody who may leave before its end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from server.backup.steps import Progress
from server.errors import RemoteFailedError, ServerError
from server.remote import RemoteError

log = logging.getLogger(__name__)


Work = Callable[[Progress], Awaitable[str]]
"""What a job does: tells its progress, and at last, in a sentence, what it did."""


class Job:
    """Runs in a task of its own, to its end.

    Args:
        name: What it is, for people.
        work: What it does.

    Attributes:
        done: How much of it is done, and `total`: of how much, in units of the work's own.
    """

    def __init__(self, name: str, work: Work) -> None:
        self.name: Final = name
        self.done = self.total = 0
        self._task = asyncio.create_task(self._run(work), name=name)
        self._task.add_done_callback(self._log)

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self._task.done()

    async def result(self) -> str:
        """Its sentence, once it is over. Who awaits this may be cancelled; the job is not.

        Raises:
            ServerError: It failed.
        """
        return await asyncio.shield(self._task)

    async def succeeds(self) -> bool:
        """Whether it went well, once it is over; the log says how it ended."""
        await asyncio.wait([self._task])
        return not self._task.cancelled() and self._task.exception() is None

    async def wait(self, seconds: float) -> None:
        """Wait for its end, but not longer."""
        await asyncio.wait([self._task], timeout=seconds)

    async def cancel(self) -> None:
        """End it; what it began has no effect."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self, work: Work) -> str:
        try:
            return await work(self._progress)
        except RemoteError as error:
            raise RemoteFailedError(str(error)) from error

    def _progress(self, done: int, total: int) -> None:
        self.done, self.total = done, total

    def _log(self, task: asyncio.Task[str]) -> None:
        if task.cancelled():
            log.warning("%s: given up", self.name)
        elif not (error := task.exception()):
            log.info("%s: %s", self.name, task.result())
        elif isinstance(error, ServerError):
            log.warning("%s: %s", self.name, error.sentence)
        else:
            log.error("%s failed", self.name, exc_info=error)
