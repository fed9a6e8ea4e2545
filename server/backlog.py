"""The backlog: accepted predictions, run in the order of their acceptance, some at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence

from server.store import Pending


class Backlog:
    """Takes Pending predictions from the store and runs each in a task of its own.

    What waits stays in the store; memory holds only what runs. Work accepted before a restart is
    found like any other.

    Args:
        pending: The store's `pending`.
        run: Runs one prediction to its end. It must not raise: if it does, the backlog ends.
        slots: How many may run at once.
    """

    def __init__(
        self,
        pending: Callable[[int, int], Awaitable[Sequence[Pending]]],
        run: Callable[[Pending], Coroutine[None, None, None]],
        slots: int,
    ) -> None:
        self._pending = pending
        self._run_one = run
        self._slots = slots
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._draining = False

    def notify(self) -> None:
        """Tell that a prediction was accepted."""
        self._wake.set()

    def cancel(self, request_id: str) -> None:
        """Give a prediction up, if it is among those that run."""
        if task := self._tasks.get(request_id):
            task.cancel()

    def running_ids(self) -> list[str]:
        """The ids of the predictions that have a task."""
        return list(self._tasks)

    async def drain(self) -> None:
        """Begin nothing more, and wait for what runs."""
        self._draining = True
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    async def run(self) -> None:
        """Serve the backlog until cancelled. What runs then stays Pending."""
        last = 0
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                room = self._slots - len(self._tasks)
                if room * 2 >= self._slots:  # few reads, of many at once
                    for prediction in await self._pending(last, room):
                        if not self._draining:
                            self._start(group, prediction)
                            last = prediction.seq
                await self._wake.wait()

    def _start(self, group: asyncio.TaskGroup, pending: Pending) -> None:
        request_id = pending.request_id
        task = group.create_task(self._run_one(pending), name=f"predict-{request_id}")
        self._tasks[request_id] = task
        task.add_done_callback(lambda _: self._end(request_id))

    def _end(self, request_id: str) -> None:
        del self._tasks[request_id]
        self._wake.set()
