import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from itertools import product
from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import StorageFullError
from server.prediction import TRANSITIONS, Prediction, Status, Timings, accepted, now
from server.store import Pending, Query, Upload, sqlite, statements
from server.store.lock import DataDirInUseError, DataDirLock
from server.store.schema import MIGRATIONS
from server.store.sqlite import SQLiteStore, StoreUnusableError

UPLOAD = Upload(bytes(range(256)) * 20, "кот & co.jpg", save_locally=True)
LARGE = Upload(bytes(500_000), "large.jpg")
TIMINGS = Timings(0.5, 1.25, 30.0)
NOON = 1_769_860_800_000


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[SQLiteStore]:
    broken: list[BaseException] = []
    store = SQLiteStore(folder, broken.append)
    try:
        yield store
    finally:
        async with asyncio.timeout(10):
            await store.close()
    assert broken == []


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    async with opened(tmp_path) as store:
        yield store


def made(status: Status = Status.PENDING, created_at: int = NOON) -> Prediction:
    prediction = Prediction(accepted().request_id, Status.PENDING, created_at)
    match status:
        case Status.SUCCESS:
            return prediction.succeeded(b'{"label":"cat"}', "cats@2", TIMINGS)
        case Status.FAIL:
            return prediction.failed("model_error", "The model raised: Ä.")
    return prediction


def connections(folder: Path) -> list[apsw.Connection]:
    """The store's own connections, for a look at them while it is idle."""
    path = str(folder / "predictions.db")
    return [each for each in apsw.connections() if each.filename == path]


def writing(folder: Path) -> apsw.Connection:
    (connection,) = [each for each in connections(folder) if not each.readonly("main")]
    return connection


def another_program(folder: Path) -> closing[apsw.Connection]:
    return closing(apsw.Connection(str(folder / "predictions.db")))


def uploads_kept(folder: Path) -> int:
    with another_program(folder) as connection:
        found: int = connection.execute("SELECT count(*) FROM images").get
    return found


async def every_id(store: SQLiteStore, query: Query) -> list[str]:
    """All that matches, page by page."""
    ids: list[str] = []
    while True:
        page = await store.page(query)
        assert len(page.predictions) <= query.limit
        ids += [prediction.request_id for prediction in page.predictions]
        if page.after is None:
            return ids
        query = Query(query.limit, query.status, query.since, page.after)


# What is kept


@pytest.mark.parametrize("status", list(Status))
async def test_a_prediction_comes_back_as_it_was_added(store: SQLiteStore, status: Status) -> None:
    prediction = made(status)
    await store.add(prediction)
    assert await store.get(prediction.request_id) == prediction


async def test_an_upload_comes_back_with_its_prediction(store: SQLiteStore) -> None:
    prediction = made()
    await store.add(prediction, UPLOAD)
    assert await store.upload(prediction.request_id) == (prediction, UPLOAD)


async def test_what_was_never_added_is_not_found(store: SQLiteStore) -> None:
    await store.add(made(), UPLOAD)
    assert await store.get("unknown") is None
    assert await store.upload("unknown") is None
    assert await store.delete("unknown") is False
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
        assert await store.upload(predictions[0].request_id) == (predictions[0], UPLOAD)


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


async def test_what_was_added_is_found_again_after_kill_minus_nine(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", ADD_AND_DIE, tmp_path], check=False, timeout=30)
    assert died.returncode == -signal.SIGKILL
    async with opened(tmp_path) as store:
        kept = Prediction("kept", Status.PENDING, 5)
        assert await store.upload("kept") == (kept, Upload(b"pixels", "cat.jpg"))


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
    commits: list[None] = []
    writing(tmp_path).set_commit_hook(lambda: bool(commits.append(None)))
    await store.add(made(), UPLOAD)
    assert len(commits) == 1


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
    assert await store.upload(prediction.request_id) == (prediction, UPLOAD)


async def test_adds_that_come_together_share_commits(store: SQLiteStore, tmp_path: Path) -> None:
    commits: list[None] = []
    writing(tmp_path).set_commit_hook(lambda: bool(commits.append(None)))
    with another_program(tmp_path) as other:
        other.execute("BEGIN IMMEDIATE")  # keeps the writer waiting while they come
        adds = [asyncio.create_task(store.add(made(), UPLOAD)) for _ in range(50)]
        await asyncio.sleep(0)  # each one's first step asks the writer
        other.execute("ROLLBACK")
    await asyncio.gather(*adds)
    assert len(commits) <= 2  # the writer may have begun with some of them
    assert (await store.counts())[Status.PENDING] == 50


async def test_an_add_is_kept_though_its_caller_left(store: SQLiteStore, tmp_path: Path) -> None:
    prediction = made()
    with another_program(tmp_path) as other:
        other.execute("BEGIN IMMEDIATE")
        adding = asyncio.create_task(store.add(prediction, UPLOAD))
        await asyncio.sleep(0)
        adding.cancel()
        await asyncio.wait([adding])
        assert adding.cancelled()
        other.execute("ROLLBACK")
    await store.add(made())
    assert await store.upload(prediction.request_id) == (prediction, UPLOAD)


async def test_reading_does_not_wait_for_writing(store: SQLiteStore, tmp_path: Path) -> None:
    prediction = made()
    await store.add(prediction)
    with another_program(tmp_path) as other:
        other.execute("BEGIN IMMEDIATE")
        async with asyncio.timeout(2):
            assert await store.get(prediction.request_id) == prediction
        other.execute("ROLLBACK")


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
    assert await store.upload(first.request_id) is None
    assert await store.upload(second.request_id) == (second, UPLOAD)
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
    assert await store.delete(first.request_id) is True
    assert await store.delete(first.request_id) is False
    assert await store.finish(first.failed("model_error", "Too late.")) is False
    assert await store.get(first.request_id) is None
    assert await store.upload(second.request_id) == (second, UPLOAD)
    assert uploads_kept(tmp_path) == 1


async def test_deleting_all_counts_and_leaves_nothing(store: SQLiteStore, tmp_path: Path) -> None:
    for status in [*Status, Status.PENDING]:
        await store.add(made(status), UPLOAD if status is Status.PENDING else None)
    assert await store.delete_all() == 4
    assert await store.delete_all() == 0
    assert set((await store.counts()).values()) == {0}
    assert uploads_kept(tmp_path) == 0


# Lists


async def test_pending_comes_in_the_order_of_acceptance_though_the_clock_jumps_back(
    store: SQLiteStore,
) -> None:
    predictions = [made(created_at=now() - 1000 * jump) for jump in (0, 50, 20, 3600, 7)]
    for prediction in predictions:
        await store.add(made(Status.SUCCESS))
        await store.add(prediction, UPLOAD)
    found = await store.pending(0, 10)
    assert [each.request_id for each in found] == [each.request_id for each in predictions]
    assert await store.pending(0, 2) == found[:2]
    assert await store.pending(found[1].seq, 2) == found[2:4]
    assert await store.pending(found[-1].seq, 10) == []


async def test_a_place_among_the_pending_is_never_given_twice(store: SQLiteStore) -> None:
    await store.add(made(), UPLOAD)
    last = (await store.pending(0, 10))[-1].seq
    await store.delete_all()
    prediction = made()
    await store.add(prediction, UPLOAD)
    assert await store.pending(last, 10) == [Pending(last + 1, prediction.request_id)]


async def test_counts_tell_every_status(store: SQLiteStore) -> None:
    assert await store.counts() == {Status.PENDING: 0, Status.SUCCESS: 0, Status.FAIL: 0}
    for status in (Status.FAIL, Status.PENDING, Status.FAIL):
        await store.add(made(status))
    assert await store.counts() == {Status.PENDING: 1, Status.SUCCESS: 0, Status.FAIL: 2}


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from(Status), st.integers(0, 3)), max_size=12),
    st.integers(1, 4),
    st.sampled_from([None, *Status]),
    st.sampled_from([None, 0, 2, 4]),
)
async def test_pages_give_each_match_once_newest_first_though_times_are_equal(
    records: list[tuple[Status, int]], limit: int, status: Status | None, since: int | None
) -> None:
    predictions = [made(each, created_at) for each, created_at in records]
    with tempfile.TemporaryDirectory() as folder:
        async with opened(Path(folder)) as store:
            for prediction in predictions:
                await store.add(prediction)
            found = await every_id(store, Query(limit, status, since))
    matching = [
        each
        for each in reversed(predictions)  # of equal times, the one added last comes first
        if status in {None, each.status} and (since is None or each.created_at >= since)
    ]
    matching.sort(key=lambda each: each.created_at, reverse=True)
    assert found == [each.request_id for each in matching]


async def test_what_comes_and_goes_between_pages_moves_nothing_else(store: SQLiteStore) -> None:
    old = [made(created_at=NOON) for _ in range(6)]
    for prediction in old:
        await store.add(prediction)
    first = await store.page(Query(2))
    await store.add(made(created_at=NOON + 1))
    await store.delete(first.predictions[-1].request_id)
    rest = await every_id(store, Query(2, before=first.after))
    assert rest == [each.request_id for each in reversed(old[:4])]


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
    with another_program(tmp_path) as other:
        other.execute("BEGIN IMMEDIATE")
        adds = [asyncio.create_task(store.add(made(), LARGE)) for _ in range(10)]
        await asyncio.sleep(0)
        other.execute("ROLLBACK")
    results = await asyncio.gather(*adds, return_exceptions=True)
    assert [type(result) for result in results] == [StorageFullError] * 10
    assert await every_id(store, Query(10)) == [full.request_id]
    assert await store.upload(full.request_id) == (full, UPLOAD)
    assert uploads_kept(tmp_path) == 1


async def test_on_a_full_disk_results_can_be_deleted_and_then_new_ones_added(
    store: SQLiteStore, full: Prediction
) -> None:
    large = full.succeeded(b'"' + b"x" * 100_000 + b'"', None, TIMINGS)
    with pytest.raises(StorageFullError):
        await store.finish(large)
    assert await store.upload(full.request_id) == (full, UPLOAD)
    assert await store.delete(full.request_id)
    await store.add(full, UPLOAD)
    assert await store.finish(full.succeeded(b"{}", None, TIMINGS))


# The database


async def test_every_connection_keeps_what_was_answered_through_a_power_cut(
    store: SQLiteStore, tmp_path: Path
) -> None:
    await asyncio.gather(*(store.counts() for _ in range(50)))
    assert len(connections(tmp_path)) >= 2
    for connection in connections(tmp_path):
        assert connection.pragma("journal_mode") == "wal"
        assert connection.pragma("synchronous") == 2  # FULL: a commit is on disk


async def test_only_the_writer_can_write(store: SQLiteStore, tmp_path: Path) -> None:
    await asyncio.gather(*(store.counts() for _ in range(50)))
    assert [each.readonly("main") for each in connections(tmp_path)].count(False) == 1


PAGES = [
    statements.page(status=status, since=since, before=before)
    for status, since, before in product([False, True], repeat=3)
]


STATEMENTS = [
    value
    for name, value in vars(statements).items()
    if isinstance(value, str) and name[0].isupper()
]


@pytest.mark.parametrize("statement", STATEMENTS + PAGES)
async def test_no_statement_reads_a_table_from_end_to_end_or_sorts(
    store: SQLiteStore, tmp_path: Path, statement: str
) -> None:
    await store.counts()  # the store is used, thus open
    with another_program(tmp_path) as connection:
        plan = query_plan(connection, statement)
    for step in plan:
        assert "TEMP B-TREE" not in step
        assert " USING " in step or statement in {
            statements.DELETE_ALL,
            statements.DELETE_ALL_IMAGES,
        }


def query_plan(connection: apsw.Connection, statement: str) -> list[str]:
    values = {"status": "Fail", "since": 0, "before_time": 9, "before_seq": 9, "limit": 9}
    bindings = values if ":limit" in statement else (None,) * statement.count("?")
    rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}", bindings)
    return [str(row[3]) for row in rows]


@pytest.mark.parametrize(
    ("statement", "step"),
    [
        (
            statements.page(status=False, since=False, before=False),
            "SCAN predictions USING INDEX predictions_by_time",
        ),
        (
            statements.page(status=False, since=True, before=True),
            "SEARCH predictions USING INDEX predictions_by_time (created_at>? AND created_at<?)",
        ),
        (
            statements.page(status=True, since=False, before=False),
            "SEARCH predictions USING INDEX predictions_by_status (status=?)",
        ),
        (
            statements.page(status=True, since=False, before=True),
            "SEARCH predictions USING INDEX predictions_by_status (status=? AND created_at<?)",
        ),
        (statements.PENDING_AFTER, "SEARCH predictions USING INDEX predictions_pending (seq>?)"),
        (statements.COUNTS, "SCAN predictions USING COVERING INDEX predictions_by_status"),
    ],
)
async def test_a_list_reads_only_its_own_part_of_an_index(
    store: SQLiteStore, tmp_path: Path, statement: str, step: str
) -> None:
    await store.counts()
    with another_program(tmp_path) as connection:
        assert query_plan(connection, statement) == [step]


# A database that can't be used


async def test_a_second_store_is_refused_and_told_who_holds_the_folder(
    store: SQLiteStore, tmp_path: Path
) -> None:
    with pytest.raises(DataDirInUseError, match=f"process {os.getpid()}\\).*--data-dir"):
        SQLiteStore(tmp_path, [].append)
    await store.add(made())


def refusal(folder: Path) -> str:
    """Why a store can't be opened; that the folder is free afterwards is checked, too."""
    path = folder / "predictions.db"
    with pytest.raises(StoreUnusableError) as refused:
        SQLiteStore(folder, [].append)
    DataDirLock(folder).release()
    assert str(path) in str(refused.value)
    assert "--data-dir" in str(refused.value)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("size", [1, 100, 5000])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, size: int) -> None:
    (tmp_path / "predictions.db").write_bytes(b"not a database " * size)
    assert "not this server's database" in refusal(tmp_path)


@pytest.mark.parametrize("pragma", ["user_version = 0", "user_version = 1", "application_id = 7"])
def test_another_programs_database_is_refused_and_left_as_it_was(
    tmp_path: Path, pragma: str
) -> None:
    with another_program(tmp_path) as connection:
        connection.execute(f"CREATE TABLE theirs (x); PRAGMA {pragma}")
    before = (tmp_path / "predictions.db").read_bytes()
    assert "not this server's database" in refusal(tmp_path)
    assert (tmp_path / "predictions.db").read_bytes() == before


async def test_a_newer_servers_database_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path):
        pass
    with another_program(tmp_path) as connection:
        connection.pragma("user_version", len(MIGRATIONS) + 1)
    assert "written by a newer server" in refusal(tmp_path)


def test_a_folder_in_the_files_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "predictions.db").mkdir()
    assert "can't be opened" in refusal(tmp_path)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small database with something of everything."""
    folder = tmp_path_factory.mktemp("sound")

    async def fill() -> None:
        async with opened(folder) as store:
            for number in range(60):
                await store.add(made(list(Status)[number % 3]), UPLOAD if number % 9 == 0 else None)

    asyncio.run(fill())
    return folder / "predictions.db"


def test_a_page_of_garbage_anywhere_is_found_at_the_start(sound: Path, tmp_path: Path) -> None:
    pages = sound.stat().st_size // 4096
    assert pages > 10
    for page in range(pages):
        shutil.copy(sound, tmp_path / "predictions.db")
        with (tmp_path / "predictions.db").open("r+b") as file:
            file.seek(page * 4096)
            file.write(b"\xa5" * 4096)
        assert "is corrupt" in refusal(tmp_path), page


def test_a_file_cut_short_is_found_at_the_start(sound: Path, tmp_path: Path) -> None:
    (tmp_path / "predictions.db").write_bytes(sound.read_bytes()[: sound.stat().st_size // 2])
    assert "is corrupt" in refusal(tmp_path)


async def test_a_check_that_takes_too_long_is_given_up_and_the_store_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path):
        pass
    with another_program(tmp_path) as connection, connection:
        rows = (("Fail", number, b"{}", f"{number}") for number in range(3000))
        insert = "INSERT INTO predictions (status, created_at, response, request_id)"
        connection.executemany(f"{insert} VALUES (?, ?, ?, ?)", rows)
    monkeypatch.setattr(sqlite, "CHECK_SECONDS", -1)
    async with opened(tmp_path) as store:
        assert (await store.counts())[Status.FAIL] == 3000
        assert await store.delete_all() == 3000
