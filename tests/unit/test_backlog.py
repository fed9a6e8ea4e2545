import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.backlog import Backlog
from server.store import Pending


class Work:
    """Accepted predictions, and the runs of them, which end when the test says so."""

    def __init__(self) -> None:
        self.accepted: list[Pending] = []
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.given_up: list[str] = []
        self.running: dict[str, asyncio.Future[None]] = {}
        self.read = asyncio.Event()
        self.read.set()
        self.reading = asyncio.Event()
        self._changed = asyncio.Event()

    def accept(self, *request_ids: str) -> None:
        for request_id in request_ids:
            self.accepted.append(Pending(len(self.accepted) + 1, request_id))

    async def pending(self, after: int, limit: int) -> list[Pending]:
        found = [each for each in self.accepted if each.seq > after][:limit]
        self.reading.set()
        await self.read.wait()
        return found

    async def run(self, pending: Pending) -> None:
        request_id = pending.request_id
        self.begun.append(request_id)
        self.running[request_id] = asyncio.get_running_loop().create_future()
        self._changed.set()
        try:
            await self.running[request_id]
            self.ended.append(request_id)
        except asyncio.CancelledError:
            self.given_up.append(request_id)
            raise
        finally:
            del self.running[request_id]
            self._changed.set()

    def end(self, request_id: str) -> None:
        self.running[request_id].set_result(None)

    async def until_begun(self, *request_ids: str) -> None:
        await self.until(lambda: self.begun == [*request_ids])

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


async def settle() -> None:
    """Let everything that can happen by itself happen."""
    for _ in range(20):
        await asyncio.sleep(0)


@asynccontextmanager
async def serving(work: Work, slots: int) -> AsyncIterator[Backlog]:
    backlog = Backlog(work.pending, work.run, slots)
    task = asyncio.create_task(backlog.run())
    try:
        yield backlog
    finally:
        task.cancel()
        async with asyncio.timeout(5):
            await asyncio.wait([task])
        assert task.cancelled()
    assert backlog.running_ids() == []


@pytest.fixture
async def work() -> Work:
    return Work()


async def test_work_from_before_the_start_is_run_in_the_order_of_its_acceptance(work: Work) -> None:
    work.accept(*"abcde")
    async with serving(work, slots=1):
        for number, request_id in enumerate("abcde", start=1):
            await work.until_begun(*"abcde"[:number])
            work.end(request_id)
        await work.until(lambda: len(work.ended) == 5)
    assert work.begun == work.ended == [*"abcde"]


async def test_a_notice_wakes_the_backlog(work: Work) -> None:
    async with serving(work, slots=2) as backlog:
        await settle()
        work.accept("a")
        await settle()
        assert work.begun == []  # it does not poll
        backlog.notify()
        await work.until_begun("a")
        assert len(backlog.running_ids()) == 1


async def test_a_notice_that_comes_during_a_read_is_not_lost(work: Work) -> None:
    work.read.clear()
    async with serving(work, slots=2) as backlog:
        await work.reading.wait()
        work.accept("a")  # too late for this read
        backlog.notify()
        work.read.set()
        await work.until_begun("a")


async def test_as_many_run_at_once_as_there_are_slots(work: Work) -> None:
    work.accept(*"abcdefgh")
    async with serving(work, slots=3) as backlog:
        await settle()
        assert work.begun == [*"abc"]
        assert len(backlog.running_ids()) == 3
        work.end("b")
        work.end("c")
        await work.until_begun(*"abcde")
        await settle()
        assert set(work.running) == {*"ade"}


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(0, 15), st.randoms(use_true_random=False), st.data())
async def test_everything_is_run_once_in_order_and_never_more_than_the_slots(
    slots: int, count: int, random: Random, data: st.DataObject
) -> None:
    work = Work()
    async with serving(work, slots) as backlog:
        while len(work.ended) < count:
            if len(work.accepted) < count and (not work.running or data.draw(st.booleans())):
                work.accept(str(len(work.accepted)))
                backlog.notify()
            else:
                work.end(random.choice([*work.running]))
            await settle()
            assert len(work.running) <= slots
            assert len(backlog.running_ids()) == len(work.running)
    assert work.begun == [each.request_id for each in work.accepted]
    assert sorted(work.ended) == sorted(work.begun)


async def test_one_that_is_cancelled_makes_room_for_the_next(work: Work) -> None:
    work.accept(*"abc")
    async with serving(work, slots=1) as backlog:
        await work.until_begun("a")
        backlog.cancel("a")
        await work.until_begun("a", "b")
        assert work.given_up == ["a"]
        backlog.cancel("a")
        backlog.cancel("unknown")
        await settle()
        assert set(work.running) == {"b"}


async def test_one_that_is_cancelled_before_its_first_step_is_never_begun(work: Work) -> None:
    work.accept(*"ab")
    work.read.clear()
    async with serving(work, slots=2) as backlog:
        await work.reading.wait()
        work.read.set()
        while not len(backlog.running_ids()):
            await asyncio.sleep(0)
        backlog.cancel("b")
        await work.until(lambda: bool(work.begun))
        await settle()
        assert work.begun == ["a"]


async def test_all_that_run_can_be_cancelled_and_later_ones_run(work: Work) -> None:
    work.accept(*"abc")
    async with serving(work, slots=3) as backlog:
        await work.until(lambda: len(work.begun) == 3)
        for request_id in backlog.running_ids():
            backlog.cancel(request_id)
        work.accept("d")
        backlog.notify()
        await work.until(lambda: set(work.running) == {"d"})
        assert work.given_up == [*"abc"]


async def test_draining_waits_for_what_runs_and_begins_nothing_more(work: Work) -> None:
    work.accept(*"abcd")
    async with serving(work, slots=2) as backlog:
        await work.until_begun(*"ab")
        draining = asyncio.create_task(backlog.drain())
        work.end("a")
        backlog.notify()
        await settle()
        assert not draining.done()
        work.end("b")
        async with asyncio.timeout(5):
            await draining
        backlog.notify()
        await settle()
    assert work.begun == work.ended == [*"ab"]


async def test_draining_begins_nothing_of_a_read_that_is_under_way(work: Work) -> None:
    work.accept("a")
    work.read.clear()
    async with serving(work, slots=1) as backlog:
        await work.reading.wait()
        async with asyncio.timeout(5):
            await backlog.drain()
        work.read.set()
        await settle()
        assert work.begun == []


async def test_an_idle_backlog_is_drained_at_once(work: Work) -> None:
    async with serving(work, slots=1) as backlog, asyncio.timeout(5):
        await backlog.drain()


async def test_what_runs_when_the_backlog_is_cancelled_is_given_up(work: Work) -> None:
    work.accept(*"abc")
    async with serving(work, slots=2):
        await work.until_begun(*"ab")
    assert sorted(work.given_up) == [*"ab"]
    assert work.ended == []
    assert work.begun == [*"ab"]


async def test_a_run_that_raises_ends_the_backlog_and_gives_the_others_up(work: Work) -> None:
    work.accept(*"ab")
    backlog = Backlog(work.pending, work.run, slots=2)
    serving = asyncio.create_task(backlog.run())
    await work.until(lambda: len(work.begun) == 2)
    work.running["b"].set_exception(OSError("the disk is gone"))
    async with asyncio.timeout(5):
        with pytest.raises(ExceptionGroup) as raised:
            await serving
    assert raised.group_contains(OSError, match="the disk is gone")
    assert work.given_up == ["a"]
