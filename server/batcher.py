"""The batcher: a bounded queue in front of the workers, emptied in batches."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

from server.errors import PredictTimeoutError, QueueFullError, WorkerLostError

ItemT = TypeVar("ItemT")
AnswerT = TypeVar("AnswerT")

FAIR_SHARE: Final = 8
"""While blocking requests wait, one batch in so many begins with background work."""


class Answer(NamedTuple, Generic[AnswerT]):
    """What the worker answered, and how long the item waited for a worker, in milliseconds."""

    value: AnswerT
    queued_ms: float


@dataclass(slots=True, eq=False)
class _Entry(Generic[ItemT, AnswerT]):
    item: ItemT
    answer: asyncio.Future[Answer[AnswerT]]
    since: float = field(default_factory=time.perf_counter)

    def succeed(self, answer: Answer[AnswerT]) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class Batcher(Generic[ItemT, AnswerT]):
    """Hands free workers whatever waits, up to `max_batch_size`; no timer, no waiting when idle.

    Args:
        run: Answers a batch: one answer for each item, in order. A `WorkerLostError` or
            `PredictTimeoutError` from a batch of several makes each of them run alone.
        workers: How many batches may run at once.
        max_batch_size: Most items in a batch.
        max_queue: Most blocking items that wait; background items bound themselves.
    """

    def __init__(
        self,
        run: Callable[[Sequence[ItemT]], Awaitable[Sequence[AnswerT]]],
        *,
        workers: int,
        max_batch_size: int,
        max_queue: int,
    ) -> None:
        self._run = run
        self._workers = workers
        self._max_batch_size = max_batch_size
        self.max_queue: Final = max_queue
        self._blocking: deque[_Entry[ItemT, AnswerT]] = deque()
        self._background: deque[_Entry[ItemT, AnswerT]] = deque()
        self._arrived = asyncio.Event()
        self._idle = 0
        self._batches = 0
        self._seconds_per_item = 0.0
        self.running = 0

    @property
    def waiting(self) -> int:
        """How many items wait for a worker."""
        return len(self._blocking) + len(self._background)

    async def submit(self, item: ItemT, *, background: bool = False) -> Answer[AnswerT]:
        """The answer for `item`. A caller that is cancelled leaves the queue.

        Raises:
            QueueFullError: `max_queue` blocking items wait already; at once.
        """
        queue = self._background if background else self._blocking
        if not background and len(queue) >= self.max_queue:
            raise QueueFullError(
                f"The queue is full: {len(queue)} requests wait. Try again later.",
                retry_after=self._seconds_until_free(),
            )
        entry = _Entry[ItemT, AnswerT](item, asyncio.get_running_loop().create_future())
        queue.append(entry)
        self._arrived.set()
        try:
            return await entry.answer
        except asyncio.CancelledError:
            if entry in queue:
                queue.remove(entry)
            raise

    async def run(self) -> None:
        """Serve the queue until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._workers):
                group.create_task(self._serve(), name=f"batcher-{number}")

    async def _serve(self) -> None:
        while True:
            batch = await self._take()
            self.running += len(batch)
            began = time.perf_counter()
            try:
                await self._answer(batch, began)
            finally:
                self.running -= len(batch)
            self._measure((time.perf_counter() - began) / len(batch))

    async def _take(self) -> list[_Entry[ItemT, AnswerT]]:
        """The next batch. Several idle workers share what waits, so that none stays idle."""
        self._idle += 1
        try:
            while not self.waiting:
                self._arrived.clear()
                await self._arrived.wait()
            size = min(self._max_batch_size, math.ceil(self.waiting / self._idle))
        finally:
            self._idle -= 1
        self._batches += 1
        first, second = self._blocking, self._background
        if self._batches % FAIR_SHARE == 0:
            first, second = second, first
        return [(first or second).popleft() for _ in range(size)]

    async def _answer(self, batch: Sequence[_Entry[ItemT, AnswerT]], began: float) -> None:
        try:
            values = await self._run([entry.item for entry in batch])
        except Exception as error:  # noqa: BLE001 - the boundary: those who wait get it
            await self._recover(batch, began, error)
        else:
            for entry, value in zip(batch, values, strict=True):
                entry.succeed(Answer(value, (began - entry.since) * 1000))

    async def _recover(
        self, batch: Sequence[_Entry[ItemT, AnswerT]], began: float, error: Exception
    ) -> None:
        """Fail a batch; one that took its worker down is run again, one by one, to find out why."""
        alone = len(batch) == 1 or not isinstance(error, WorkerLostError | PredictTimeoutError)
        for entry in batch:
            if alone:
                entry.fail(error)
            elif not entry.answer.done():
                await self._answer([entry], began)

    def _measure(self, seconds_per_item: float) -> None:
        """Follow the service time, with a memory of about ten batches."""
        before = self._seconds_per_item or seconds_per_item
        self._seconds_per_item = 0.9 * before + 0.1 * seconds_per_item

    def _seconds_until_free(self) -> float:
        return max(1.0, self.waiting * self._seconds_per_item / self._workers)
