"""The batcher: a bounded queue in front of the workers, emptied in batches."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

from server.errors import (
    PredictTimeoutError,
    QueueFullError,
    QueueTimeoutError,
    WorkerLostError,
)

ItemT = TypeVar("ItemT")
AnswerT = TypeVar("AnswerT")

FAIR_SHARE: Final = 8
"""While blocking requests wait, one batch in so many begins with background work."""


class Answer(NamedTuple, Generic[AnswerT]):
    """What the worker answered, and how long the item waited for a worker, in milliseconds."""

    value: AnswerT
    queued_ms: float


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How much may wait, and how it is handed out.

    Attributes:
        batch_size: Most items in a batch.
        batch_wait: Seconds that the oldest item may wait for its batch to fill; 0: none waits
            while a worker is free.
        queue: Most blocking items that wait; background items bound themselves.
        queue_bytes: Most bytes of blocking items that wait.
        queue_timeout: Seconds that a blocking item may wait.
    """

    batch_size: int
    batch_wait: float
    queue: int
    queue_bytes: int
    queue_timeout: float


@dataclass(slots=True, eq=False)
class _Entry(Generic[ItemT, AnswerT]):
    item: ItemT
    size: int
    alone: bool
    answer: asyncio.Future[Answer[AnswerT]]
    since: float = field(default_factory=time.perf_counter)
    queued: bool = True

    def succeed(self, answer: Answer[AnswerT]) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class Batcher(Generic[ItemT, AnswerT]):
    """Hands free workers whatever waits, in the order of arrival, blocking items first.

    Args:
        run: Answers a batch: one answer for each item, in order. A `WorkerLostError` or
            `PredictTimeoutError` from a batch of several makes each of them run alone.
        workers: How many batches may run at once.
        limits: How much may wait, and how it is handed out.
    """

    def __init__(
        self,
        run: Callable[[Sequence[ItemT]], Awaitable[Sequence[AnswerT]]],
        workers: int,
        limits: BatchLimits,
    ) -> None:
        self._run = run
        self._workers = workers
        self.limits: Final = limits
        self._blocking: deque[_Entry[ItemT, AnswerT]] = deque()
        self._background: deque[_Entry[ItemT, AnswerT]] = deque()
        self._waiting_bytes = 0
        self._arrived = asyncio.Event()
        self._idle = 0
        self._batches = 0
        self._seconds_per_item = 0.0
        self.running = 0

    @property
    def waiting(self) -> int:
        """How many items wait for a worker."""
        return len(self._blocking) + len(self._background)

    def require_room(self, size: int = 0) -> None:
        """Refuse a blocking item for which there is no room.

        Args:
            size: Its bytes.

        Raises:
            QueueFullError: Too many wait, or too many bytes.
        """
        full = len(self._blocking) >= self.limits.queue
        heavy = self._blocking and self._waiting_bytes + size > self.limits.queue_bytes
        if full or heavy:
            raise QueueFullError(
                f"The queue is full: {len(self._blocking)} requests wait. Try again later.",
                retry_after=self.seconds_for(self.waiting),
            )

    async def submit(self, item: ItemT, size: int) -> Answer[AnswerT]:
        """The answer for a blocking item. A caller that is cancelled leaves the queue.

        Args:
            item: What to run.
            size: Its bytes.

        Raises:
            QueueFullError: Too many wait; at once.
            QueueTimeoutError: No worker was free in time.
        """
        self.require_room(size)
        entry = self._entry(item, size, alone=False)
        timer = asyncio.get_running_loop().call_later(
            self.limits.queue_timeout, self._expire, entry
        )
        try:
            return await self._wait(entry, self._blocking)
        finally:
            timer.cancel()

    async def submit_background(self, item: ItemT, *, alone: bool = False) -> Answer[AnswerT]:
        """The answer for an item that can wait; `alone` keeps it out of others' batches."""
        return await self._wait(self._entry(item, 0, alone=alone), self._background)

    async def run(self) -> None:
        """Serve the queue until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._workers):
                group.create_task(self._serve(), name=f"batcher-{number}")

    def seconds_for(self, items: int) -> float:
        """How long the workers need for so many items, by what they needed lately; 1 at least."""
        return max(1.0, items * self._seconds_per_item / self._workers)

    def _entry(self, item: ItemT, size: int, *, alone: bool) -> _Entry[ItemT, AnswerT]:
        return _Entry(item, size, alone, asyncio.get_running_loop().create_future())

    async def _wait(
        self, entry: _Entry[ItemT, AnswerT], queue: deque[_Entry[ItemT, AnswerT]]
    ) -> Answer[AnswerT]:
        queue.append(entry)
        self._waiting_bytes += entry.size
        self._arrived.set()
        try:
            return await entry.answer
        finally:
            if entry.queued:  # given up before a worker took it
                queue.remove(entry)
                self._leave(entry)

    def _leave(self, entry: _Entry[ItemT, AnswerT]) -> None:
        entry.queued = False
        self._waiting_bytes -= entry.size

    def _expire(self, entry: _Entry[ItemT, AnswerT]) -> None:
        if entry.queued:
            seconds = self.limits.queue_timeout
            entry.fail(
                QueueTimeoutError(
                    f"No worker was free within {seconds:g} s. Try again later.",
                    retry_after=self.seconds_for(self.waiting),
                )
            )

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
            del batch  # an idle loop must not hold the last images

    async def _take(self) -> list[_Entry[ItemT, AnswerT]]:
        """The next batch."""
        self._idle += 1
        try:
            while True:
                while not self._due():
                    self._arrived.clear()
                    await self._arrival()
                if batch := self._pop(self._batch_size()):
                    return batch
        finally:
            self._idle -= 1

    def _due(self) -> bool:
        """Whether a batch may go: something waits, and has waited for others long enough."""
        if not self.waiting:
            return False
        return self.waiting >= self.limits.batch_size or self._patience() <= 0

    def _patience(self) -> float:
        """Seconds that the oldest waiting item may still wait for its batch to fill."""
        oldest = min(queue[0].since for queue in (self._blocking, self._background) if queue)
        return self.limits.batch_wait - (time.perf_counter() - oldest)

    async def _arrival(self) -> None:
        """Wait for another item, or until the oldest that waits has waited long enough."""
        try:
            async with asyncio.timeout(self._patience() if self.waiting else None):
                await self._arrived.wait()
        except TimeoutError:
            return

    def _batch_size(self) -> int:
        """Idle workers share what waits, so that none stays idle; a batch that waited is full."""
        share = 1 if self.limits.batch_wait else self._idle
        return min(self.limits.batch_size, math.ceil(self.waiting / share))

    def _pop(self, size: int) -> list[_Entry[ItemT, AnswerT]]:
        """Take up to `size` items off the queues, leaving out those that were given up."""
        self._batches += 1
        queues = [self._blocking, self._background]
        if self._batches % FAIR_SHARE == 0:
            queues.reverse()
        batch: list[_Entry[ItemT, AnswerT]] = []
        for queue in queues:
            while queue and len(batch) < size:
                if batch and (batch[0].alone or queue[0].alone):
                    return batch
                entry = queue.popleft()
                self._leave(entry)
                if not entry.answer.done():
                    batch.append(entry)
        return batch

    async def _answer(self, batch: Sequence[_Entry[ItemT, AnswerT]], began: float) -> None:
        try:
            values = await self._run([entry.item for entry in batch])
            for entry, value in zip(batch, values, strict=True):
                entry.succeed(Answer(value, (began - entry.since) * 1000))
        except Exception as error:  # noqa: BLE001 - the boundary: those who wait get it
            await self._recover(batch, began, error)

    async def _recover(
        self, batch: Sequence[_Entry[ItemT, AnswerT]], began: float, error: Exception
    ) -> None:
        """Fail a batch; one that took its worker down is run again, one by one, to find out why."""
        final = len(batch) == 1 or not isinstance(error, WorkerLostError | PredictTimeoutError)
        for entry in batch:
            if final:
                entry.fail(error)
            elif not entry.answer.done():
                await self._answer([entry], began)

    def _measure(self, seconds_per_item: float) -> None:
        """Follow the service time, with a memory of about ten batches."""
        before = self._seconds_per_item or seconds_per_item
        self._seconds_per_item = 0.9 * before + 0.1 * seconds_per_item
