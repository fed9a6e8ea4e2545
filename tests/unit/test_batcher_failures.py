import asyncio
import gc
import weakref
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.batcher import Answer
from server.errors import (
    PredictTimeoutError,
    QueueFullError,
    WorkerLostError,
)
from tests.unit.batches import (
    Batch,
    Item,
    Kind,
    Served,
    Workers,
    answers,
    ask,
    ask_later,
    limits,
    serving,
    settle,
)


@pytest.fixture
async def workers() -> Workers:
    return Workers()


# Those who leave


async def test_an_item_whose_asker_left_is_never_run(workers: Workers) -> None:
    async with serving(workers, 1, limits()) as batcher:
        asked = [ask(batcher, "a")]
        await settle()
        asked += [ask(batcher, "b"), ask(batcher, "c"), ask_later(batcher, "x")]
        await settle()
        asked[1].cancel()
        asked[3].cancel()
        await settle()
        assert batcher.waiting == 1
        await workers.end_all()
        assert workers.names == ["a", "c"]
        left = asyncio.CancelledError
        assert await answers(asked) == ["answer to a", left, "answer to c", left]


async def test_an_item_whose_asker_left_in_the_moment_it_would_be_taken_is_not_run(
    workers: Workers,
) -> None:
    async with serving(workers, 1, limits()) as batcher:
        asked = [ask(batcher, "a")]
        await settle()
        asked.append(ask(batcher, "b"))
        await settle()
        workers.running[0].finish()  # the worker will look for more
        asked[1].cancel()
        await settle()
        assert workers.names == ["a"]
        assert await answers(asked) == ["answer to a", asyncio.CancelledError]


async def test_a_batch_goes_on_when_one_of_its_askers_left(workers: Workers) -> None:
    async with serving(workers, 1, limits()) as batcher:
        asked = [ask(batcher, name) for name in "ab"]
        await settle()
        asked[0].cancel()
        await workers.end()
        assert workers.names == ["ab"]
        assert await answers(asked) == [asyncio.CancelledError, "answer to b"]


async def test_an_item_is_forgotten_once_it_is_answered_and_its_asker_has_left() -> None:
    async def run(items: Sequence[Item]) -> list[str]:
        return ["answer"] * len(items)

    batcher = Served(run, 1, limits(queue_timeout=3600))
    task = asyncio.create_task(batcher.run())
    item = Item("an image of many bytes")
    known = weakref.ref(item)
    await batcher.submit(item, 1)
    later = ask(batcher, "b")
    await later
    del item, later
    gc.collect()
    assert known() is None
    task.cancel()
    await asyncio.wait([task])


# Failures


@pytest.mark.parametrize("kind", [Kind.KILLS, Kind.HANGS])
async def test_a_batch_that_took_its_worker_down_is_run_again_one_by_one(
    workers: Workers, kind: Kind
) -> None:
    async with serving(workers, 1, limits()) as batcher:
        asked = [ask(batcher, "a"), ask(batcher, "B", kind), ask(batcher, "c"), ask(batcher, "d")]
        await settle()
        await workers.end()
        asked[3].cancel()  # who left meanwhile is not run again
        await workers.end_all()
        assert workers.names == ["aBcd", "a", "B", "c"]
        left = asyncio.CancelledError
        told = await answers(asked)
        assert told == ["answer to a", type(kind.value), "answer to c", left]


async def test_an_error_of_the_model_is_told_to_its_batch_and_to_no_other(workers: Workers) -> None:
    async with serving(workers, 1, limits(batch_size=2)) as batcher:
        asked = [ask(batcher, "a"), ask(batcher, "B", Kind.RAISES), ask(batcher, "c")]
        await settle()
        await workers.end_all()
        assert workers.names == ["aB", "c"]
        assert await answers(asked) == [ValueError, ValueError, "answer to c"]


async def test_an_answer_tells_how_long_its_item_waited(workers: Workers) -> None:
    async with serving(workers, 1, limits()) as batcher:
        first = ask(batcher, "a")
        await settle()
        second = ask(batcher, "b")
        await settle()
        await asyncio.sleep(0.02)  # what the first one takes
        await workers.end_all()
        assert 0 <= (await first).queued_ms < (await second).queued_ms
        assert (await second).queued_ms >= 20


# Everything at once

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from(Kind)),
        st.tuples(st.just("ask later"), st.booleans()),
        st.tuples(st.sampled_from(["leave", "end"]), st.integers(0, 5)),
        st.tuples(st.just("settle"), st.none()),
    ),
    max_size=40,
)


@dataclass
class Story:
    """One course of events, and what must hold in any."""

    workers: Workers
    batcher: Served
    items: list[Item] = field(default_factory=list)
    asked: list[asyncio.Task[Answer[str]]] = field(default_factory=list)
    left: set[Item] = field(default_factory=set)

    async def step(self, what: str, value: object) -> None:
        name, running = f"{len(self.items)}", self.workers.running
        match what, value:
            case "ask", Kind() as kind:
                item = Item(name, kind)
                self.ask(item, self.batcher.submit(item, 1))
            case "ask later", bool() as alone:
                item = Item(name, later=True, alone=alone)
                self.ask(item, self.batcher.submit_background(item, alone=alone))
            case "leave", int() as number if number < len(self.asked):
                self.leave(-1 - number)
            case "end", int() as number if number < len(running):
                running[number].finish()
            case "settle", _:
                await settle()

    def ask(self, item: Item, answer: Coroutine[None, None, Answer[str]]) -> None:
        self.items.append(item)
        self.asked.append(asyncio.create_task(answer))

    def leave(self, number: int) -> None:
        if not self.asked[number].done():
            self.asked[number].cancel()
            if not self.batches_of(self.items[number]):
                self.left.add(self.items[number])

    def batches_of(self, item: Item) -> list[Batch]:
        return [batch for batch in self.workers.batches if item in batch.items]

    def check_order(self) -> None:
        """Of the blocking items, and of the others, each was begun before those after it."""
        begun = list(dict.fromkeys(item for batch in self.workers.batches for item in batch.items))
        for later in (False, True):
            order = [int(item.name) for item in begun if item.later is later]
            assert order == sorted(order)

    def check_told(self, item: Item, told: str | type[BaseException]) -> None:
        batches = self.batches_of(item)
        if told in {asyncio.CancelledError, QueueFullError}:
            assert told is asyncio.CancelledError or not batches
            return
        first, *again = batches
        assert [batch.items for batch in again] in ([], [[item]])
        assert not again or isinstance(first.error, WorkerLostError | PredictTimeoutError)
        assert not item.alone or first.items == [item]
        error = batches[-1].error
        assert told == (type(error) if error else f"answer to {item.name}")
        if item.kind is Kind.GOOD and len(batches[-1].items) == 1:
            assert error is None


@settings(max_examples=300, deadline=None)
@given(STEPS, st.integers(1, 3), st.integers(1, 4), st.integers(1, 6))
async def test_whatever_happens_each_is_told_its_own_answer_or_its_own_error(
    steps: list[tuple[str, object]], count: int, batch_size: int, queue: int
) -> None:
    workers = Workers()
    async with serving(workers, count, limits(batch_size, queue=queue)) as batcher:
        story = Story(workers, batcher)
        for what, value in steps:
            await story.step(what, value)
            assert len(workers.running) <= count
            assert batcher.waiting <= len(story.items)
            if what == "settle" and batcher.waiting:
                assert len(workers.running) == count  # no worker is idle while something waits
        await settle()
        await workers.end_all()
        told = await answers(story.asked)
        assert batcher.waiting == batcher.running == 0
        batcher.require_room(1000)  # all bytes were given back
    assert max([len(batch.items) for batch in workers.batches], default=0) <= batch_size
    assert not [item for item in story.left if story.batches_of(item)]
    story.check_order()
    for item, each in zip(story.items, told, strict=True):
        story.check_told(item, each)
