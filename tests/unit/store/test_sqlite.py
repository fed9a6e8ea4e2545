import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from server.errors import StorageFullError
from server.prediction import TRANSITIONS, Prediction, Status
from server.store import Query, Upload
from server.store.sqlite import SQLiteStore
from tests.unit.store.stores import (
    LARGE,
    TIMINGS,
    UPLOAD,
    busy,
    connections,
    every_id,
    made,
    opened,
    uploads_kept,
    writing,
)

# What is kept


@pytest.mark.parametrize("status", list(Status))
async def test_a_prediction_comes_back_as_it_was_added(store: SQLiteStore, status: Status) -> None:
    prediction = made(status)
    await store.add(prediction)
    assert await store.get(prediction.request_id) == prediction


async def test_an_upload_comes_back_with_its_prediction(store: SQLiteStore) -> None:
    prediction = made()
    await store.add(prediction, UPLOAD)
    assert await store.accepted(prediction.request_id) == (prediction, UPLOAD, 0)


async def test_what_was_never_added_is_not_found(store: SQLiteStore) -> None:
    await store.add(made(), UPLOAD)
    assert await store.get("unknown") is None
    assert await store.accepted("unknown") is None
    assert await store.delete("unknown") is None
    assert await store.finish(made(Status.SUCCESS)) is False


async def test_everything_is_found_again_after_a_restart(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "with its parents"
    predictions = [made(status) for status in Status]
    async with opened(folder) as store:
        for prediction in predictions:
            await store.add(prediction, UPLOAD if prediction.status is Status.PENDING else None)
    async with opened(folder) as store:
        for prediction in predictions:
            assert await store.get(prediction.request_id) == prediction
        assert await store.accepted(predictions[0].request_id) == (predictions[0], UPLOAD, 0)


ADD_AND_DIE = """
import asyncio, os, signal, sys
from pathlib import Path
from server.prediction import Prediction, Status
from server.store import Upload
from server.store.sqlite import SQLiteStore

async def main():
    store = SQLiteStore(Path(sys.argv[1]), print)
    await store.add(Prediction("kept", Status.PENDING, 5), Upload(b"pixels", "cat.jpg"))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def add_and_die(folder: Path) -> int:
    command = [sys.executable, "-c", ADD_AND_DIE, str(folder)]
    return subprocess.run(command, check=False, timeout=30).returncode


async def test_what_was_added_is_found_again_after_kill_minus_nine(tmp_path: Path) -> None:
    assert add_and_die(tmp_path) == -signal.SIGKILL
    async with opened(tmp_path) as store:
        kept = Prediction("kept", Status.PENDING, 5)
        assert await store.accepted("kept") == (kept, Upload(b"pixels", "cat.jpg"), 0)
        assert [each.seq for each in await store.pending(0, 9)] == [store.suspects_end]


async def test_what_a_crash_left_is_suspect_until_it_is_finished(tmp_path: Path) -> None:
    add_and_die(tmp_path)
    for _ in range(2):  # ending well without running it changes nothing
        async with opened(tmp_path) as store:
            assert [each.seq for each in await store.pending(0, 9)] == [store.suspects_end]
    async with opened(tmp_path) as store:
        await store.finish(Prediction("kept", Status.PENDING, 5).failed("model_error", "Raised."))
    async with opened(tmp_path) as store:
        assert store.suspects_end == 0


async def test_closing_leaves_one_whole_file_and_no_connection(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await asyncio.gather(*(store.add(made(), UPLOAD) for _ in range(20)))
        await asyncio.gather(*(store.counts() for _ in range(20)))
        assert len(connections(tmp_path)) >= 2
    assert connections(tmp_path) == []
    assert {path.name for path in tmp_path.iterdir()} == {"predictions.db", "server.lock"}


# One transaction


async def test_a_prediction_and_its_upload_are_one_commit(
    store: SQLiteStore, tmp_path: Path
) -> None:
    async with busy(store, tmp_path) as commits:
        adding = asyncio.create_task(store.add(made(), UPLOAD))
    await adding
    assert len(commits) == 2  # of what kept the writer busy, and this one


async def test_an_upload_that_can_not_be_kept_leaves_no_prediction(
    store: SQLiteStore, tmp_path: Path
) -> None:
    writing(tmp_path).limit(apsw.SQLITE_LIMIT_LENGTH, 100_000)
    prediction = made()
    with pytest.raises(apsw.TooBigError):
        await store.add(prediction, LARGE)
    assert await store.get(prediction.request_id) is None
    await store.add(prediction, UPLOAD)


async def test_the_same_id_twice_is_refused_and_the_first_one_stays(store: SQLiteStore) -> None:
    prediction = made()
    await store.add(prediction, UPLOAD)
    with pytest.raises(apsw.ConstraintError):
        await store.add(prediction, LARGE)
    assert await store.accepted(prediction.request_id) == (prediction, UPLOAD, 0)


async def test_adds_that_come_together_share_a_commit(store: SQLiteStore, tmp_path: Path) -> None:
    async with busy(store, tmp_path) as commits:
        adds = [asyncio.create_task(store.add(made(), UPLOAD)) for _ in range(50)]
        await asyncio.sleep(0)  # each one's first step asks the writer
    await asyncio.gather(*adds)
    assert len(commits) == 2  # of what kept the writer busy, and theirs
    assert (await store.counts())[Status.PENDING] == 50


async def test_an_add_is_kept_though_its_caller_left(store: SQLiteStore, tmp_path: Path) -> None:
    prediction = made()
    async with busy(store, tmp_path):
        adding = asyncio.create_task(store.add(prediction, UPLOAD))
        await asyncio.sleep(0)
        adding.cancel()
        await asyncio.wait([adding])
        assert adding.cancelled()
    await store.add(made())  # the writer keeps the order
    assert await store.accepted(prediction.request_id) == (prediction, UPLOAD, 0)


async def test_reading_does_not_wait_for_writing(store: SQLiteStore, tmp_path: Path) -> None:
    prediction = made()
    await store.add(prediction)
    async with busy(store, tmp_path), asyncio.timeout(5):
        assert await store.get(prediction.request_id) == prediction


# The end of a prediction


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("following", [Status.SUCCESS, Status.FAIL])
async def test_a_prediction_is_finished_only_where_the_table_lets_it(
    store: SQLiteStore, status: Status, following: Status
) -> None:
    before = made(status)
    await store.add(before, UPLOAD)
    pending = Prediction(before.request_id, Status.PENDING, before.created_at)
    finished = pending.failed("worker_lost", "It ended.", "cats@2", TIMINGS)
    if following is Status.SUCCESS:
        finished = pending.succeeded(b"{}", None, TIMINGS)
    allowed = following in TRANSITIONS[status]
    assert await store.finish(finished) is allowed
    assert await store.get(before.request_id) == (finished if allowed else before)


async def test_a_finished_prediction_has_no_upload_any_more(
    store: SQLiteStore, tmp_path: Path
) -> None:
    first, second = made(), made()
    await store.add(first, UPLOAD)
    await store.add(second, UPLOAD)
    assert await store.finish(first.succeeded(b"{}", None, TIMINGS))
    assert await store.accepted(first.request_id) is None
    assert await store.accepted(second.request_id) == (second, UPLOAD, 0)
    assert uploads_kept(tmp_path) == 1


async def test_of_many_who_finish_the_same_one_is_heard(store: SQLiteStore) -> None:
    prediction = made()
    await store.add(prediction, UPLOAD)
    ends = [prediction.failed("model_error", f"{number}") for number in range(20)]
    heard = await asyncio.gather(*map(store.finish, ends))
    assert sorted(heard) == [False] * 19 + [True]
    assert await store.get(prediction.request_id) == ends[heard.index(True)]


async def test_a_deleted_prediction_takes_its_upload_along(
    store: SQLiteStore, tmp_path: Path
) -> None:
    first, second = made(), made()
    await store.add(first, UPLOAD)
    await store.add(second, UPLOAD)
    assert await store.delete(first.request_id) is Status.PENDING
    assert await store.delete(first.request_id) is None
    assert await store.finish(first.failed("model_error", "Too late.")) is False
    assert await store.get(first.request_id) is None
    assert await store.accepted(second.request_id) == (second, UPLOAD, 0)
    assert uploads_kept(tmp_path) == 1


async def test_deleting_all_counts_and_leaves_nothing(store: SQLiteStore, tmp_path: Path) -> None:
    for status in [*Status, Status.PENDING]:
        await store.add(made(status), UPLOAD if status is Status.PENDING else None)
    assert await store.delete_all() == (4, 2)
    assert await store.delete_all() == (0, 0)
    assert set((await store.counts()).values()) == {0}
    assert uploads_kept(tmp_path) == 0


# A full disk


@pytest.fixture
async def full(store: SQLiteStore, tmp_path: Path) -> Prediction:
    """A Pending prediction in a database that may not grow any more."""
    prediction = made()
    await store.add(prediction, UPLOAD)
    connection = writing(tmp_path)
    connection.pragma("max_page_count", connection.pragma("page_count"))
    return prediction


async def test_a_full_disk_is_told_to_all_who_wait_and_nothing_of_theirs_is_kept(
    store: SQLiteStore, tmp_path: Path, full: Prediction
) -> None:
    async with busy(store, tmp_path):
        adds = [asyncio.create_task(store.add(made(), LARGE)) for _ in range(10)]
        adds.append(asyncio.create_task(store.add(made())))
        await asyncio.sleep(0)
    results = await asyncio.gather(*adds, return_exceptions=True)
    assert [type(result) for result in results] == [StorageFullError] * 11
    assert await every_id(store, Query(10)) == [full.request_id]
    assert await store.accepted(full.request_id) == (full, UPLOAD, 0)
    assert uploads_kept(tmp_path) == 1


async def test_on_a_full_disk_results_can_be_deleted_and_then_new_ones_added(
    store: SQLiteStore, full: Prediction
) -> None:
    large = full.succeeded(b'"' + b"x" * 100_000 + b'"', None, TIMINGS)
    with pytest.raises(StorageFullError):
        await store.finish(large)
    assert await store.accepted(full.request_id) == (full, UPLOAD, 0)
    assert await store.delete(full.request_id)
    await store.add(full, UPLOAD)
    assert await store.finish(full.succeeded(b"{}", None, TIMINGS))
