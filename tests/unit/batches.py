"""Workers whose batches last as long as a test wants, and those who ask them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum

from server.batcher import Answer, Batcher, BatchLimits
from server.errors import (
    PredictTimeoutError,
    WorkerLostError,
)


class Kind(Enum):
    """What an item does to the worker that gets it."""

    GOOD = None
    RAISES = ValueError("the model raised")
    HANGS = PredictTimeoutError("The model did not answer.")
    KILLS = WorkerLostError("The worker ended.")


@dataclass(frozen=True)
class Item:
    name: str
    kind: Kind = Kind.GOOD
    later: bool = False
    alone: bool = False


@dataclass(eq=False)
class Batch:
    """Items that are being run, until the test lets them end."""

    items: list[Item]
    end: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def names(self) -> str:
        return "".join(item.name for item in self.items)

    def finish(self) -> None:
        if not self.end.done():
            self.end.set_result(None)

    @property
    def error(self) -> Exception | None:
        """Of the kinds together, the worst shows."""
        kinds = {item.kind for item in self.items}
        return next((each.value for each in reversed(Kind) if each in kinds), None)


class Workers:
    """Runs batches as workers would, each for as long as the test wants."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.running: list[Batch] = []

    async def run(self, items: Sequence[Item]) -> Sequence[str]:
        batch = Batch([*items])
        self.batches.append(batch)
        self.running.append(batch)
        try:
            await batch.end
        finally:
            self.running.remove(batch)
        if batch.error:
            raise batch.error
        return [f"answer to {item.name}" for item in items]

    @property
    def names(self) -> list[str]:
        """What was run so far, batch by batch."""
        return [batch.names for batch in self.batches]

    async def end(self, number: int = 0) -> None:
        """Let a batch end, and what follows happen."""
        self.running[number].finish()
        await settle()

    async def end_all(self) -> None:
        while self.running:
            await self.end()


async def settle() -> None:
    """Let everything that can happen by itself happen."""
    for _ in range(20):
        await asyncio.sleep(0)


def limits(
    batch_size: int = 8,
    batch_wait: float = 0,
    queue: int = 100,
    queue_bytes: int = 1000,
    queue_timeout: float = 60,
) -> BatchLimits:
    return BatchLimits(batch_size, batch_wait, queue, queue_bytes, queue_timeout)


Served = Batcher[Item, str]


@asynccontextmanager
async def serving(workers: Workers, count: int, bounds: BatchLimits) -> AsyncIterator[Served]:
    batcher = Served(workers.run, count, bounds)
    task = asyncio.create_task(batcher.run())
    try:
        await settle()
        yield batcher
    finally:
        task.cancel()
        async with asyncio.timeout(5):
            await asyncio.wait([task])
    assert task.cancelled()


def ask(
    batcher: Served, name: str, kind: Kind = Kind.GOOD, *, size: int = 1
) -> asyncio.Task[Answer[str]]:
    return asyncio.create_task(batcher.submit(Item(name, kind), size))


def ask_later(batcher: Served, name: str, *, alone: bool = False) -> asyncio.Task[Answer[str]]:
    return asyncio.create_task(batcher.submit_background(Item(name), alone=alone))


async def answers(asked: Sequence[Awaitable[Answer[str]]]) -> list[str | type[BaseException]]:
    """What each was told: the value, or the error's class."""
    async with asyncio.timeout(5):
        told = await asyncio.gather(*asked, return_exceptions=True)
    return [type(each) if isinstance(each, BaseException) else each.value for each in told]
