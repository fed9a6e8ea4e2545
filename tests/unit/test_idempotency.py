"""Idempotency keys: a request that is sent again under its key is answered, not run again."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest
from multidict import CIMultiDict

from server.errors import IdempotencyConflictError, IdempotencyKeyReusedError, StorageFullError
from server.prediction import Prediction, Status, now
from server.store import IdempotencyKey, Limits, Query, Upload
from server.web.parameters import idempotency_key
from tests.unit.test_inference import CAT, DOG, EVERY, LOST, Service, Workers, serving


def key(upload: Upload = CAT, value: str = "k", path: str = "/predict") -> IdempotencyKey:
    """The key as the server reads it from a request."""
    found = idempotency_key(path, CIMultiDict({"Idempotency-Key": value}), upload)
    assert found
    return found


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with serving(tmp_path / "data") as service:
        yield service


async def ids(service: Service) -> set[str]:
    page = await service.predictions.page(Query(limit=100))
    return {prediction.request_id for prediction in page.predictions}


async def began(service: Service, *tasks: "asyncio.Task[Prediction]") -> None:
    """Wait until an image is with the workers, and the tasks wait for something."""
    await service.workers.reached(1)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)


# Together


async def test_requests_that_come_together_are_run_once(service: Service) -> None:
    service.workers.allowed = 0
    asking = [asyncio.create_task(service.predictions.predict(CAT, key())) for _ in range(10)]
    await began(service, *asking)
    service.workers.allowed = EVERY
    answers = await asyncio.gather(*asking)
    assert {answer.request_id for answer in answers} == await ids(service)
    assert service.workers.batches == [[b"cat"]]


async def test_submissions_that_come_together_are_accepted_once(service: Service) -> None:
    answers = await asyncio.gather(
        *(service.predictions.submit(CAT, key(path="/asyncPredict")) for _ in range(10))
    )
    assert len({answer.request_id for answer in answers}) == 1
    assert len(await ids(service)) == 1
    assert service.predictions.pending <= 1


async def test_requests_without_a_key_are_each_run(service: Service) -> None:
    await asyncio.gather(*(service.predictions.predict(CAT) for _ in range(3)))
    assert len(await ids(service)) == 3


async def test_a_second_one_runs_itself_when_the_client_of_the_first_leaves(
    service: Service,
) -> None:
    service.workers.allowed = 0
    first = asyncio.create_task(service.predictions.predict(CAT, key()))
    await began(service, first)
    others = [asyncio.create_task(service.predictions.predict(CAT, key())) for _ in range(2)]
    await began(service, *others)
    first.cancel()
    service.workers.allowed = EVERY
    one, two = await asyncio.gather(*others)
    assert first.cancelled()
    assert one.status is Status.SUCCESS
    assert {one.request_id, two.request_id} == await ids(service)
    assert len(await ids(service)) == 1


async def test_a_second_one_runs_itself_when_the_first_fails(tmp_path: Path) -> None:
    workers = Workers(tmp_path / "data")
    async with serving(tmp_path / "data", workers) as service:
        workers.allowed = 0
        workers.fails[b"cat"] += [RuntimeError("by accident")]
        first = asyncio.create_task(service.predictions.predict(CAT, key()))
        await began(service, first)
        second = asyncio.create_task(service.predictions.predict(CAT, key()))
        await began(service, second)
        workers.allowed = EVERY
        assert (await second).status is Status.SUCCESS
        with pytest.raises(RuntimeError, match="by accident"):
            await first
        assert await ids(service) == {(await second).request_id}


@asynccontextmanager
async def slow_disk(service: Service) -> AsyncIterator[None]:
    """Keep the writer of the store from committing anything."""
    loop, begun, gate = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def work(_: apsw.Connection) -> bool:
        loop.call_soon_threadsafe(begun.set)
        return gate.wait(10)

    call = asyncio.create_task(service.store._writer.run(work))
    await begun.wait()
    yield
    gate.set()
    assert await call


@pytest.mark.parametrize("path", ["/predict", "/asyncPredict"])
async def test_a_second_one_joins_what_is_being_recorded_when_the_first_leaves(
    service: Service, path: str
) -> None:
    ask = service.predictions.predict if path == "/predict" else service.predictions.submit
    async with slow_disk(service):
        first = asyncio.create_task(ask(CAT, key(path=path)))
        while service.store._writer._calls.empty():
            await asyncio.sleep(0.005)
        first.cancel()
        second = asyncio.create_task(ask(CAT, key(path=path)))
        for _ in range(20):
            await asyncio.sleep(0.005)
    answer = await second
    assert await ids(service) == {answer.request_id}
    assert first.cancelled()


async def test_another_image_under_a_key_in_use_is_a_conflict(service: Service) -> None:
    service.workers.allowed = 0
    first = asyncio.create_task(service.predictions.predict(CAT, key()))
    await began(service, first)
    with pytest.raises(IdempotencyConflictError, match="in use for another image"):
        await asyncio.wait_for(service.predictions.predict(DOG, key(DOG)), 10)
    service.workers.allowed = EVERY
    assert (await first).status is Status.SUCCESS
    assert len(await ids(service)) == 1


# Later


async def test_a_request_that_is_sent_again_gets_the_same_answer(service: Service) -> None:
    first = await service.predictions.predict(CAT, key())
    assert await service.predictions.predict(CAT, key()) == first
    assert service.workers.batches == [[b"cat"]]


async def test_a_fail_that_is_recorded_is_answered_again(service: Service) -> None:
    service.workers.fails[b"cat"] += [LOST] * 3
    first = await service.predictions.predict(CAT, key())
    assert first.status is Status.FAIL
    assert await service.predictions.predict(CAT, key()) == first


async def test_another_image_under_a_used_key_is_refused(service: Service) -> None:
    await service.predictions.predict(CAT, key())
    for other in (DOG, Upload(CAT.data, CAT.name, save_locally=True)):
        with pytest.raises(IdempotencyKeyReusedError, match="was used for another image"):
            await service.predictions.predict(other, key(other))
    assert len(await ids(service)) == 1


async def test_the_file_name_is_no_part_of_the_request(service: Service) -> None:
    first = await service.predictions.predict(CAT, key())
    again = Upload(CAT.data, "renamed.jpg")
    assert await service.predictions.predict(again, key(again)) == first


async def test_keys_are_kept_apart_by_path_and_by_value(service: Service) -> None:
    await service.predictions.predict(CAT, key(value="a"))
    await service.predictions.predict(CAT, key(value="b"))
    await service.predictions.submit(CAT, key(value="a", path="/asyncPredict"))
    assert len(await ids(service)) == 3


async def test_keys_survive_a_restart(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as service:
        first = await service.predictions.predict(CAT, key())
        accepted = await service.predictions.submit(DOG, key(DOG, path="/asyncPredict"))
        await service.end(accepted.request_id)
    async with serving(tmp_path / "data") as service:
        assert await service.predictions.predict(CAT, key()) == first
        again = await service.predictions.submit(DOG, key(DOG, path="/asyncPredict"))
        assert again.request_id == accepted.request_id
        with pytest.raises(IdempotencyKeyReusedError):
            await service.predictions.predict(DOG, key(DOG))
        assert service.workers.batches == []


async def test_a_key_is_forgotten_after_its_time(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", keep_keys=60) as service:
        young, old = key(value="young"), key(value="old")
        for name, used, age in (("a", young, 59_000), ("b", old, 61_000)):
            recorded = Prediction(name, Status.PENDING, now() - age).failed("model_error", "No.")
            await service.store.add(recorded, key=used)
        assert (await service.predictions.predict(CAT, young)).request_id == "a"
        new = await service.predictions.predict(CAT, old)
        assert new.request_id not in {"a", "b"}
        assert await service.predictions.predict(CAT, old) == new


async def test_a_key_is_deleted_with_its_result(service: Service) -> None:
    first = await service.predictions.predict(CAT, key())
    await service.predictions.delete(first.request_id)
    second = await service.predictions.predict(DOG, key(DOG))
    await service.store.expire(Limits(None, 0), 10)
    third = await service.predictions.predict(CAT, key())
    await service.predictions.delete_all()
    fourth = await service.predictions.predict(DOG, key(DOG))
    assert len({each.request_id for each in (first, second, third, fourth)}) == 4
    assert await ids(service) == {fourth.request_id}


async def test_a_request_that_could_not_be_kept_can_be_sent_again(service: Service) -> None:
    full = service.store._writer._connection
    most = full.pragma("max_page_count")
    full.pragma("max_page_count", full.pragma("page_count"))
    large = Upload(bytes(100_000), "large.jpg")
    with pytest.raises(StorageFullError):
        await service.predictions.submit(large, key(large, path="/asyncPredict"))
    assert service.predictions.pending == 0
    full.pragma("max_page_count", most)
    accepted = await service.predictions.submit(large, key(large, path="/asyncPredict"))
    assert (await service.end(accepted.request_id)).status is Status.SUCCESS
    assert await ids(service) == {accepted.request_id}
