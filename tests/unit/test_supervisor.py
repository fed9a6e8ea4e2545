import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from server.supervisor import Supervisor


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    supervisor = Supervisor()
    yield supervisor
    async with asyncio.timeout(5):
        await supervisor.close()


@pytest.fixture
async def complaints() -> list[object]:
    """What the event loop logs: errors in callbacks, and those that nobody heard."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
    return complaints


async def forever() -> None:
    await asyncio.Event().wait()


async def return_at_once() -> None:
    return


async def die() -> None:
    raise OSError("the disk is gone")


async def test_a_loop_that_dies_is_told_with_its_error(supervisor: Supervisor) -> None:
    supervisor.start("other", forever())
    supervisor.start("batcher", die())
    with pytest.raises(OSError, match="the disk is gone"):
        await asyncio.wait_for(supervisor.failed, 5)


async def test_a_loop_that_returns_is_dead_too_and_named(supervisor: Supervisor) -> None:
    supervisor.start("batcher", return_at_once())
    with pytest.raises(RuntimeError, match=r"^batcher ended$"):
        await asyncio.wait_for(supervisor.failed, 5)


async def test_a_loop_that_ends_may_return_but_not_die(supervisor: Supervisor) -> None:
    returned = asyncio.Event()

    async def load() -> None:
        returned.set()

    supervisor.start("model loading", load(), ends=True)
    await returned.wait()
    supervisor.start("model loading", die(), ends=True)
    with pytest.raises(OSError, match="the disk is gone"):
        await asyncio.wait_for(supervisor.failed, 5)


async def test_a_failure_from_elsewhere_is_told_and_the_first_one_stays(
    supervisor: Supervisor,
) -> None:
    supervisor.fail(OSError("first"))
    supervisor.fail(OSError("second"))
    with pytest.raises(OSError, match="first"):
        await supervisor.failed


async def test_each_loop_runs_in_a_task_of_that_name(supervisor: Supervisor) -> None:
    supervisor.start("batcher", forever())
    assert "batcher" in {task.get_name() for task in asyncio.all_tasks()}


async def test_closing_ends_one_loop_after_the_other_the_last_started_first(
    complaints: list[object],
) -> None:
    supervisor = Supervisor()
    log: list[str] = []

    async def loop(name: str) -> None:
        try:
            await forever()
        finally:
            log.append(f"{name} ends")
            await asyncio.sleep(0)  # an end that takes its time
            log.append(f"{name} ended")

    for name in ("first", "second", "third"):
        supervisor.start(name, loop(name))
    await asyncio.sleep(0)  # each begins
    await supervisor.close()
    assert log == [
        f"{name} {what}" for name in ("third", "second", "first") for what in ("ends", "ended")
    ]
    assert supervisor.failed.cancelled()
    assert complaints == []


async def test_a_loop_that_another_one_starts_during_the_close_is_ended_too() -> None:
    supervisor = Supervisor()
    closing = asyncio.Event()
    started: list[asyncio.Task[None]] = []

    async def load() -> None:
        await closing.wait()
        supervisor.start("backlog", forever())
        started.extend(task for task in asyncio.all_tasks() if task.get_name() == "backlog")

    async def end_slowly() -> None:
        try:
            await forever()
        finally:
            closing.set()
            while not started:
                await asyncio.sleep(0)

    supervisor.start("model loading", load(), ends=True)
    supervisor.start("batcher", end_slowly())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await supervisor.close()
    assert started[0].cancelled()


async def test_closing_after_a_failure_nobody_heard_is_silent(complaints: list[object]) -> None:
    supervisor = Supervisor()
    supervisor.start("batcher", die())
    await asyncio.wait([supervisor.failed])
    await supervisor.close()
    del supervisor
    gc.collect()
    assert complaints == []


async def test_a_loop_that_dies_while_it_is_closed_does_not_stop_the_close() -> None:
    supervisor = Supervisor()
    ended = asyncio.Event()

    async def die_at_the_end() -> None:
        try:
            await forever()
        finally:
            raise OSError("could not flush")

    async def end() -> None:
        try:
            await forever()
        finally:
            ended.set()

    supervisor.start("first", end())
    supervisor.start("second", die_at_the_end())
    await asyncio.sleep(0)
    await supervisor.close()
    assert ended.is_set()
    assert isinstance(supervisor.failed.exception(), OSError)
