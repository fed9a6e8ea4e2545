"""Retention: which results and keys are kept, and for how long."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server import retention as room
from server.prediction import Prediction, Status, Timings, now
from server.retention import AT_ONCE, Keep, Retention
from server.settings import BadSettingError, load
from server.store import IdempotencyKey, Query, Upload
from server.store.saved_images import SavedImages
from server.store.sqlite import SQLiteStore

DAY = 86_400
TIMINGS = Timings(1, 2, 3)
UPLOAD = Upload(b"cat", "cat.jpg")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    broken: list[BaseException] = []
    store = SQLiteStore(tmp_path, broken.append)
    yield store
    await store.close()
    assert broken == []


@pytest.fixture
def images(tmp_path: Path) -> SavedImages:
    return SavedImages(tmp_path / "images")


async def add(store: SQLiteStore, name: str, age: float, status: Status = Status.SUCCESS) -> None:
    """Record a prediction that was made so many seconds ago."""
    made = Prediction(name, Status.PENDING, now() - int(age * 1000))
    if status is Status.PENDING:
        await store.add(made, UPLOAD)
    elif status is Status.FAIL:
        await store.add(made.failed("model_error", "No."))
    else:
        await store.add(made.succeeded(b"{}", "cats", TIMINGS))


async def kept(store: SQLiteStore) -> list[str]:
    page = await store.page(Query(limit=1000))
    return [prediction.request_id for prediction in page.predictions]


async def expire(store: SQLiteStore, images: SavedImages, keep: Keep) -> None:
    await Retention(store, keep, 60_000, images.delete)._expire()


async def test_everything_is_kept_unless_something_else_is_said(
    store: SQLiteStore, images: SavedImages
) -> None:
    await add(store, "old", 10_000 * DAY)
    await add(store, "new", 0)
    await expire(store, images, Keep())
    assert await kept(store) == ["new", "old"]


async def test_what_is_too_old_is_deleted(store: SQLiteStore, images: SavedImages) -> None:
    for days in (1, 29.9, 30.1, 100):
        await add(store, f"{days}", days * DAY)
    await add(store, "failed", 31 * DAY, Status.FAIL)
    await expire(store, images, Keep(seconds=30 * DAY))
    assert await kept(store) == ["1", "29.9"]


async def test_what_is_too_much_is_deleted_the_oldest_first(
    store: SQLiteStore, images: SavedImages
) -> None:
    for age in (3, 1, 5, 2, 4):
        await add(store, f"{age}", age)
    await expire(store, images, Keep(count=3))
    assert await kept(store) == ["1", "2", "3"]
    await expire(store, images, Keep(count=3))
    assert await kept(store) == ["1", "2", "3"]


async def test_of_two_limits_the_narrower_one_counts(
    store: SQLiteStore, images: SavedImages
) -> None:
    for age in (1, 2, 3, 400, 500):
        await add(store, f"{age}", age)
    await expire(store, images, Keep(seconds=100, count=4))
    assert await kept(store) == ["1", "2", "3"]
    await expire(store, images, Keep(seconds=100, count=2))
    assert await kept(store) == ["1", "2"]


@pytest.mark.parametrize("keep", [Keep(seconds=100), Keep(count=1), Keep(seconds=100, count=1)])
async def test_what_is_pending_is_always_kept(
    store: SQLiteStore, images: SavedImages, keep: Keep
) -> None:
    await add(store, "new", 0)
    for number in range(3):
        await add(store, f"pending {number}", 1000 + number, Status.PENDING)
        await add(store, f"finished {number}", 1000 + number)
    await expire(store, images, keep)
    assert await kept(store) == ["new", "pending 0", "pending 1", "pending 2"]
    assert await store.accepted("pending 2")


async def test_saved_images_go_with_their_results(
    store: SQLiteStore, images: SavedImages, tmp_path: Path
) -> None:
    for name, age in (("old", 200), ("new", 1)):
        await add(store, name, age)
        await images.save(name, "cat.jpg", b"cat")
    await expire(store, images, Keep(seconds=100))
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["new"]


async def test_many_are_deleted_a_chunk_at_a_time(store: SQLiteStore, images: SavedImages) -> None:
    many = 2 * AT_ONCE + 10
    await asyncio.gather(*(add(store, f"{number}", 200) for number in range(many)))
    await add(store, "new", 1)
    chunks = [0]

    def begin_another() -> bool:
        chunks.append(0)
        return False  # let it commit

    def count(_: int, __: str, table: str, ___: int) -> None:
        if table == "predictions":  # what remembers deletions grows as well
            chunks.append(chunks.pop() + 1)

    store._writer._connection.set_update_hook(count)
    store._writer._connection.set_commit_hook(begin_another)
    await expire(store, images, Keep(seconds=100))
    assert [each for each in chunks if each] == [AT_ONCE, AT_ONCE, 10]
    assert await kept(store) == ["new"]


async def test_keys_are_forgotten_after_their_time(store: SQLiteStore, images: SavedImages) -> None:
    for name, age in (("old", 61), ("young", 59)):
        made = Prediction(name, Status.PENDING, now() - age * 1000)
        key = IdempotencyKey(name, b"print")
        await store.add(made.succeeded(b"{}", "cats", TIMINGS), key=key)
    await expire(store, images, Keep())
    assert await store.by_key("old", since=0) is None
    assert await store.by_key("young", since=0)
    assert await kept(store) == ["young", "old"]


@contextmanager
def full_disk(store: SQLiteStore) -> Iterator[None]:
    """Deletions fail as on a full disk: they too need room in the log."""
    store._writer._connection.execute(
        "CREATE TEMP TRIGGER full BEFORE DELETE ON predictions"
        " BEGIN INSERT INTO images VALUES (1, 'a', 0, zeroblob(1000000)); END"
    )
    most = store._writer._connection.pragma("max_page_count")
    pages = store._writer._connection.pragma("page_count")
    store._writer._connection.pragma("max_page_count", pages)
    yield
    store._writer._connection.pragma("max_page_count", most)
    store._writer._connection.execute("DROP TRIGGER full")


async def test_it_goes_on_after_a_full_disk_again_and_again(
    store: SQLiteStore, images: SavedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "PAUSE_SECONDS", 0.01)
    await add(store, "old", 200)
    with full_disk(store):
        task = asyncio.create_task(Retention(store, Keep(100), 60_000, images.delete).run())
        await asyncio.wait([task], timeout=0.1)
        assert not task.done()
        assert await kept(store) == ["old"]
    for name in ("old", "older"):
        async with asyncio.timeout(10):
            while await kept(store):
                await asyncio.sleep(0.005)
        await add(store, f"{name} too", 300)
    task.cancel()
    await asyncio.wait([task])


# The setting


@pytest.mark.parametrize(
    ("text", "keep"),
    [
        ("30d", Keep(seconds=30 * DAY)),
        ("12h", Keep(seconds=12 * 3600)),
        ("5m", Keep(seconds=300)),
        ("90s", Keep(seconds=90)),
        ("100000", Keep(count=100_000)),
        ("30d,100000", Keep(30 * DAY, 100_000)),
        ("100000, 30d", Keep(30 * DAY, 100_000)),
        ("1", Keep(count=1)),
    ],
)
def test_an_age_a_count_or_both_are_understood(text: str, keep: Keep) -> None:
    assert Keep.parse(load(["--keep-results", text]).keep_results) == keep


def test_without_the_setting_everything_is_kept() -> None:
    assert Keep.parse(load([]).keep_results) == Keep()


def test_the_variable_means_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_KEEP_RESULTS", "2h,50")
    assert Keep.parse(load([]).keep_results) == Keep(7200, 50)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0d",
        "-1",
        "30 days",
        "30d,12h",
        "10,20",
        "30d,",
        "d",
        "1.5d",
        "forever",
        "30d 5",
        "٣",
    ],
)
def test_nonsense_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadSettingError, match=r"--keep-results: .*30d,100000"):
        load([f"--keep-results={text}"])
