"""The supervisor of the server's inner loops: each named, kept and awaited; a dead one is fatal."""

import asyncio
from collections.abc import Coroutine


class Supervisor:
    """Keeps the tasks that must live as long as the server does.

    `failed` becomes done, with the error, when one of them dies or `fail` is called: the server
    must then stop, with an exit code that says so.
    """

    def __init__(self) -> None:
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._closing = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, name: str, loop: Coroutine[None, None, None], *, ends: bool = False) -> None:
        """Run a loop until `close`. One that `ends` may return, but not fail."""
        task = asyncio.create_task(loop, name=name)
        task.add_done_callback(lambda task: self._on_end(task, may_return=ends))
        self._tasks.append(task)

    def fail(self, error: BaseException) -> None:
        """Tell that the server can't go on."""
        if not self.failed.done():
            self.failed.set_exception(error)

    async def close(self) -> None:
        """Cancel every loop, the last started first, and wait for its end."""
        self._closing = True
        while self._tasks:  # one that ends may start another
            task = self._tasks.pop()
            task.cancel()
            await asyncio.wait([task])
        if self.failed.done():
            self.failed.exception()  # it was told already, or nobody is left to tell
        else:
            self.failed.cancel()

    def _on_end(self, task: asyncio.Task[None], *, may_return: bool) -> None:
        if task.cancelled():
            if not self._closing:
                self.fail(RuntimeError(f"{task.get_name()} was cancelled"))
            return
        error = task.exception()
        if error or not may_return:
            self.fail(error or RuntimeError(f"{task.get_name()} ended"))
