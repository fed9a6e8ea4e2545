"""Attempts: how an image whose worker is lost is run again, counted, and given up."""

import asyncio
import shutil
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import NamedTuple

import apsw
import orjson
import pytest

from server.batcher import Batcher, BatchLimits
from server.errors import PredictTimeoutError, WorkerLostError
from server.idempotency import Idempotency
from server.inference import MAX_ATTEMPTS, Inference
from server.model.hosted import ImageInput, ModelInfo, Outcome
from server.prediction import Prediction, Status
from server.predictions import Predictions
from server.store import Upload
from server.store.saved_images import SavedImages
from server.store.space import FreeSpace
from server.store.sqlite import SQLiteStore

EVERY = 1_000_000
LOST, LATE = WorkerLostError("The worker ended."), PredictTimeoutError("It took too long.")
CAT, DOG = Upload(b"cat", "cat.jpg"), Upload(b"dog", "dog.jpg")


class Workers:
    """In place of the workers: answers by the image's bytes, or fails as it is told."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.fails: defaultdict[bytes, deque[Exception]] = defaultdict(deque)
        self.outcomes: dict[bytes, Outcome] = {}
        self.batches: list[list[bytes]] = []
        self.attempts: list[int] = []  # on disk, of the first image, when each batch began
        self.allowed = EVERY  # so many batches may end; those after them are held

    async def run(self, images: Sequence[ImageInput]) -> list[Outcome]:
        self.batches.append([image.data for image in images])
        self.attempts.append(attempts(self._folder, images[0].data))
        number = len(self.batches)
        while number > self.allowed:
            await asyncio.sleep(0.001)
        for image in images:
            if self.fails[image.data]:
                raise self.fails[image.data].popleft()
        fine = Outcome(b'{"label":"fine"}', decode_ms=1.0, predict_ms=2.0)
        return [self.outcomes.get(image.data, fine) for image in images]

    async def reached(self, number: int) -> None:
        """Wait until so many batches began."""
        async with asyncio.timeout(10):
            while len(self.batches) < number:
                await asyncio.sleep(0.001)


def attempts(folder: Path, data: bytes) -> int:
    """The attempts that the disk knows of, of the accepted image with these bytes; 0: none."""
    with closing(apsw.Connection(str(folder / "predictions.db"))) as plain:
        query = "SELECT attempts FROM predictions JOIN images USING (seq) WHERE data = ?"
        return sum(n for (n,) in plain.execute(query, (data,)))


class Service(NamedTuple):
    predictions: Predictions
    store: SQLiteStore
    workers: Workers

    async def end(self, request_id: str) -> Prediction:
        """An accepted prediction, once it is finished."""
        async with asyncio.timeout(10):
            return await self.predictions.get(request_id, wait=10)


@asynccontextmanager
async def serving(
    folder: Path, workers: Workers | None = None, *, batch_size: int = 8, keep_keys: float = 60
) -> AsyncIterator[Service]:
    """The service on a real store; leaving it is a clean stop."""
    broken: list[BaseException] = []
    store = SQLiteStore(folder, broken.append)
    workers = workers or Workers(folder)
    batcher = Batcher(workers.run, 1, BatchLimits(batch_size, 0, 100, 2**20, 10))
    inference = Inference(batcher, 1, store.count_attempt)
    inference.model = ModelInfo("cats", "2")
    predictions = Predictions(
        store=store,
        saved_images=SavedImages(folder / "images"),
        space=FreeSpace(folder, 0),
        inference=inference,
        idempotency=Idempotency(store, keep_keys),
        max_pending=100,
        slots=16,
    )
    await predictions.begin()
    loops = [asyncio.create_task(each) for each in (batcher.run(), predictions.backlog.run())]
    try:
        yield Service(predictions, store, workers)
    finally:
        for loop in reversed(loops):
            loop.cancel()
            with suppress(asyncio.CancelledError):
                await loop
        await store.close()
    assert broken == []


def crashed(folder: Path) -> Path:
    """The data directory as a server that is killed at this moment leaves it."""
    return Path(shutil.copytree(folder, folder.with_name(f"{folder.name}+")))


async def status(service: Service, request_id: str) -> Status:
    return (await service.predictions.get(request_id)).status


# Accepted images


async def test_an_image_whose_worker_was_lost_runs_again_alone(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as service:
        service.workers.fails[b"cat"] += [LOST]
        accepted = await service.predictions.submit(CAT)
        finished = await service.end(accepted.request_id)
    assert (finished.status, finished.model) == (Status.SUCCESS, "cats@2")
    assert service.workers.batches == [[b"cat"], [b"cat"]]
    assert service.workers.attempts == [0, 2]  # the lost one, and this one before it runs


@pytest.mark.parametrize("error", [LOST, LATE])
async def test_an_image_that_costs_three_workers_is_given_up(
    tmp_path: Path, error: WorkerLostError | PredictTimeoutError
) -> None:
    async with serving(tmp_path / "data") as service:
        service.workers.fails[b"cat"] += [error] * 100
        accepted = await service.predictions.submit(CAT)
        finished = await service.end(accepted.request_id)
    assert (finished.status, finished.error) == (Status.FAIL, error.code)
    assert orjson.loads(finished.response) == f"{error} That was attempt 3: it is given up."
    assert len(service.workers.batches) == MAX_ATTEMPTS == 3
    assert service.workers.attempts == [0, 2, 3]


async def test_one_image_that_costs_workers_harms_no_other(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as service:
        service.workers.fails[b"dog"] += [LOST] * 100
        service.workers.allowed = 0
        uploads = [CAT, DOG, CAT, DOG, CAT]
        accepted = [await service.predictions.submit(upload) for upload in uploads]
        service.workers.allowed = EVERY
        finished = [await service.end(each.request_id) for each in accepted]
    assert [each.status for each in finished] == ["Success", "Fail"] * 2 + ["Success"]


async def test_an_image_whose_worker_was_lost_shares_no_batch(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as service:
        predictions, workers = service.predictions, service.workers
        batcher = predictions._inference.batcher
        workers.fails[b"cat"] += [LOST]
        workers.allowed = 0
        cat = await predictions.submit(CAT)
        await workers.reached(1)
        dogs = [asyncio.create_task(predictions.predict(DOG))]
        await until_waiting(batcher, 1)
        workers.allowed = 1
        await workers.reached(2)  # with the first dog; the cat is back in the queue
        await until_waiting(batcher, 1)
        dogs += [asyncio.create_task(predictions.predict(DOG)) for _ in range(3)]
        birds = [await predictions.submit(Upload(b"bird", "bird.jpg")) for _ in range(3)]
        await until_waiting(batcher, 7)
        workers.allowed = EVERY
        for each in [cat, *birds]:
            assert (await service.end(each.request_id)).status is Status.SUCCESS
        assert {each.status for each in await asyncio.gather(*dogs)} == {Status.SUCCESS}
    assert [batch for batch in workers.batches if b"cat" in batch] == [[b"cat"]] * 2
    assert max(map(len, workers.batches)) > 1


async def until_waiting(batcher: Batcher[ImageInput, Outcome], number: int) -> None:
    """Wait until so many images wait for a worker."""
    async with asyncio.timeout(10):
        while batcher.waiting != number:
            await asyncio.sleep(0.001)


async def test_a_clean_stop_is_not_the_images_fault(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    workers = Workers(folder)
    async with serving(folder, workers) as service:
        workers.fails[b"cat"] += [LOST]
        workers.allowed = 1
        accepted = await service.predictions.submit(CAT)
        await workers.reached(2)  # it runs again, alone
        assert attempts(folder, b"cat") == 2
    assert attempts(folder, b"cat") == 1
    async with serving(folder) as service:
        assert service.store.suspects_end == 0
        assert (await service.end(accepted.request_id)).status is Status.SUCCESS
    assert service.workers.attempts == [2]


async def test_an_image_that_costs_the_server_is_given_up_without_being_run_again(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "data"
    runs: list[int] = []
    for _ in range(MAX_ATTEMPTS + 1):
        workers = Workers(folder)
        workers.allowed = 0
        async with serving(folder, workers) as service:
            if not runs:
                accepted = await service.predictions.submit(CAT)
            await workers.reached(1)
            folder = crashed(folder)
        runs += workers.attempts
    assert runs == [0, 1, 2, 3]
    async with serving(folder) as service:
        finished = await service.end(accepted.request_id)
    assert (finished.status, finished.error) == (Status.FAIL, "worker_lost")
    assert "attempt 3: it is given up" in orjson.loads(finished.response)
    assert service.workers.batches == []


async def test_only_after_a_crash_is_what_was_pending_run_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for crash in (False, True):
        workers = Workers(folder)
        workers.allowed = 0
        async with serving(folder, workers) as service:
            accepted = [await service.predictions.submit(CAT) for _ in range(4)]
            await workers.reached(1)
            after = crashed(folder)
        async with serving(after if crash else folder) as service:
            new = [await service.predictions.submit(DOG) for _ in range(3)]
            for each in [*accepted, *new]:
                assert (await service.end(each.request_id)).status is Status.SUCCESS
        cats = [batch for batch in service.workers.batches if b"cat" in batch]
        assert cats == [[b"cat"]] * 4 or not crash
        assert (max(service.workers.attempts) > 0) == crash
        folder = tmp_path / "other"


async def test_a_failure_nobody_thought_of_fails_its_own_image_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path / "data", batch_size=1) as service:
        service.workers.fails[b"dog"] += [RuntimeError("what is this?")]
        dog = await service.predictions.submit(DOG)
        cat = await service.predictions.submit(CAT)
        failed = await service.end(dog.request_id)
        assert (await service.end(cat.request_id)).status is Status.SUCCESS
    assert (failed.status, failed.error) == (Status.FAIL, "internal_error")
    assert "what is this?" not in orjson.loads(failed.response)
    assert "what is this?" in caplog.text


# Blocking predicts


async def test_a_client_that_waits_gets_its_answer_after_a_lost_worker(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as service:
        service.workers.fails[b"cat"] += [LOST, LOST]
        finished = await service.predictions.predict(CAT)
        assert await service.predictions.get(finished.request_id) == finished
    assert finished.status is Status.SUCCESS
    assert service.workers.batches == [[b"cat"]] * 3


async def test_a_client_that_waits_is_told_when_its_image_is_given_up(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as service:
        service.workers.fails[b"cat"] += [LOST] * 100
        finished = await service.predictions.predict(CAT)
        assert await service.predictions.get(finished.request_id) == finished
    assert (finished.status, finished.error) == (Status.FAIL, "worker_lost")
    assert service.workers.batches == [[b"cat"]] * MAX_ATTEMPTS


async def test_a_client_that_waits_is_told_of_a_timeout_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as service:
        service.workers.fails[b"cat"] += [LATE] * 100
        finished = await service.predictions.predict(CAT)
    assert (finished.status, finished.error) == (Status.FAIL, "predict_timeout")
    assert orjson.loads(finished.response) == str(LATE)
    assert service.workers.batches == [[b"cat"]]


async def test_a_client_that_leaves_takes_its_image_along(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as service:
        service.workers.allowed = 0
        asking = asyncio.create_task(service.predictions.predict(CAT))
        await service.workers.reached(1)
        asking.cancel()
        await asyncio.wait([asking])
        service.workers.allowed = EVERY
        assert asking.cancelled()
        assert sum((await service.store.counts()).values()) == 0


async def test_what_the_model_says_is_recorded_with_its_timings(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as service:
        service.workers.outcomes[b"dog"] = Outcome(None, "model_error", "No dogs.", 3.0, 4.0)
        cat, dog = [await service.predictions.predict(upload) for upload in (CAT, DOG)]
    assert (cat.status, cat.response, cat.error) == (Status.SUCCESS, b'{"label":"fine"}', None)
    assert (dog.status, dog.response, dog.error) == (Status.FAIL, b'"No dogs."', "model_error")
    assert cat.timings
    assert dog.timings
    assert (cat.timings.decode, cat.timings.predict) == (1.0, 2.0)
    assert (dog.timings.decode, dog.timings.predict) == (3.0, 4.0)
    assert 0 <= cat.timings.queued < 10_000
