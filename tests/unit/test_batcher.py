import asyncio
import time
from itertools import pairwise

import pytest

from server.batcher import FAIR_SHARE
from server.errors import (
    QueueFullError,
    QueueTimeoutError,
)
from tests.unit.batches import (
    Item,
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


# Batches


async def test_a_single_item_is_run_at_once_by_an_idle_worker(workers: Workers) -> None:
    async with serving(workers, 1, limits()) as batcher:
        asked = ask(batcher, "a")
        await settle()
        assert workers.names == ["a"]
        await workers.end()
        assert await answers([asked]) == ["answer to a"]


async def test_what_arrived_while_the_worker_was_busy_is_its_next_batch(workers: Workers) -> None:
    async with serving(workers, 1, limits(batch_size=3)) as batcher:
        asked = [ask(batcher, "a")]
        await settle()
        asked += [ask(batcher, name) for name in "bcdef"]
        await settle()
        assert batcher.waiting == 5
        await workers.end_all()
        assert workers.names == ["a", "bcd", "ef"]
        assert await answers(asked) == [f"answer to {name}" for name in "abcdef"]


@pytest.mark.parametrize(
    ("idle", "names", "batches"),
    [(2, "ab", ["a", "b"]), (2, "abc", ["ab", "c"]), (3, "ab", ["a", "b"]), (2, "a", ["a"])],
)
async def test_idle_workers_share_what_waits(
    workers: Workers, idle: int, names: str, batches: list[str]
) -> None:
    async with serving(workers, idle, limits()) as batcher:
        asked = [ask(batcher, name) for name in names]
        await settle()
        assert workers.names == batches
        assert batcher.running == len(names)
        await workers.end_all()
        assert batcher.running == 0
        assert await answers(asked) == [f"answer to {name}" for name in names]


async def test_with_a_wait_a_full_batch_goes_at_once_to_one_worker(workers: Workers) -> None:
    async with serving(workers, 2, limits(batch_size=3, batch_wait=3600)) as batcher:
        asked = [ask(batcher, name) for name in "ab"]
        await settle()
        assert workers.names == []
        asked.append(ask(batcher, "c"))
        await settle()
        assert workers.names == ["abc"]
        await workers.end_all()
        assert await answers(asked) == ["answer to a", "answer to b", "answer to c"]


async def test_with_a_wait_a_batch_goes_unfilled_when_its_oldest_item_waited_long_enough(
    workers: Workers,
) -> None:
    async with serving(workers, 1, limits(batch_size=3, batch_wait=0.02)) as batcher:
        asked = [ask(batcher, name) for name in "ab"]
        async with asyncio.timeout(5):
            while not workers.running:
                await asyncio.sleep(0)
        assert workers.names == ["ab"]
        await workers.end_all()
        for each in asked:
            assert (await each).queued_ms >= 20


async def test_an_item_that_wants_to_be_alone_shares_no_batch(workers: Workers) -> None:
    async with serving(workers, 1, limits()) as batcher:
        asked = [ask(batcher, "-")]
        await settle()
        asked += [ask_later(batcher, name, alone=name in "BD") for name in "aBcDe"]
        await settle()
        await workers.end_all()
        assert workers.names == ["-", "a", "B", "c", "D", "e"]
        assert set(await answers(asked)) == {f"answer to {name}" for name in "-aBcDe"}


# Who comes first


async def test_blocking_items_come_before_background_ones(workers: Workers) -> None:
    async with serving(workers, 1, limits(batch_size=2)) as batcher:
        asked = [ask(batcher, "-")]
        await settle()
        asked += [ask_later(batcher, "x"), ask(batcher, "a"), ask_later(batcher, "y")]
        asked += [ask(batcher, "b"), ask(batcher, "c")]
        await settle()
        await workers.end_all()
        assert workers.names == ["-", "ab", "cx", "y"]
        await answers(asked)


async def test_background_items_get_their_share_while_blocking_ones_keep_coming(
    workers: Workers,
) -> None:
    async with serving(workers, 1, limits(batch_size=1)) as batcher:
        asked = [ask_later(batcher, "x") for _ in range(5)]
        for _ in range(5 * FAIR_SHARE):
            asked.append(ask(batcher, "a"))  # always one more than is taken
            await settle()
            await workers.end()
        assert "".join(workers.names).count("x") == 5
        turns = [number for number, name in enumerate(workers.names) if name == "x"]
        assert all(second - first == FAIR_SHARE for first, second in pairwise(turns[1:]))
        await workers.end_all()
        await answers(asked)


# The bounds


async def test_a_full_queue_is_told_at_once_with_the_time_to_come_back(workers: Workers) -> None:
    async with serving(workers, 1, limits(queue=2)) as batcher:
        asked = [ask(batcher, "a")]
        await settle()
        asked += [ask(batcher, "b"), ask(batcher, "c")]
        await settle()
        with pytest.raises(QueueFullError) as refused:
            await asyncio.wait_for(batcher.submit(Item("d"), 1), 5)
        assert refused.value.retry_after is not None
        assert refused.value.retry_after >= 1
        with pytest.raises(QueueFullError):
            batcher.require_room()
        later = ask_later(batcher, "x")  # bounded elsewhere
        await settle()
        await workers.end()
        asked.append(ask(batcher, "e"))
        await settle()
        await workers.end_all()
        assert "d" not in "".join(workers.names)
        assert await answers([*asked, later]) == [f"answer to {name}" for name in "abcex"]


async def test_the_waiting_bytes_are_bounded_but_a_single_item_may_have_any_size(
    workers: Workers,
) -> None:
    async with serving(workers, 1, limits(batch_size=1, queue_bytes=100)) as batcher:
        asked = [ask(batcher, "a", size=100)]
        await settle()
        asked += [ask(batcher, "b", size=60), ask(batcher, "c", size=40)]
        await settle()
        with pytest.raises(QueueFullError):
            batcher.require_room(1)
        await workers.end()  # b runs, c waits
        with pytest.raises(QueueFullError):
            batcher.require_room(61)
        batcher.require_room(60)
        asked.pop().cancel()
        await settle()
        asked.append(ask(batcher, "d", size=5000))
        await settle()
        await workers.end_all()
        assert await answers(asked) == [f"answer to {name}" for name in "abd"]
        assert workers.names == [*"abd"]


async def test_an_item_that_waited_too_long_is_told_so_and_never_run(workers: Workers) -> None:
    async with serving(workers, 1, limits(queue=1, queue_timeout=0.02)) as batcher:
        running = ask(batcher, "a")
        await settle()
        waiting = ask(batcher, "b")
        later = ask_later(batcher, "x")
        async with asyncio.timeout(5):
            with pytest.raises(QueueTimeoutError, match=r"within 0\.02 s") as told:
                await waiting
        assert told.value.retry_after is not None
        assert told.value.retry_after >= 1
        assert batcher.waiting == 1
        batcher.require_room()
        await workers.end_all()
        assert await answers([running, later]) == ["answer to a", "answer to x"]
        assert workers.names == ["a", "x"]


async def test_the_time_to_come_back_follows_the_time_that_items_take(workers: Workers) -> None:
    async with serving(workers, 2, limits()) as batcher:
        assert batcher.seconds_for(10_000) == 1
        began = time.perf_counter()
        asked = ask(batcher, "a")
        await settle()
        await asyncio.sleep(0.02)  # what the item takes
        await workers.end()
        await asked
        longest = time.perf_counter() - began
        assert 10_000 * 0.02 / 2 <= batcher.seconds_for(10_000) <= 10_000 * longest / 2
        assert batcher.seconds_for(20_000) == 2 * batcher.seconds_for(10_000)
