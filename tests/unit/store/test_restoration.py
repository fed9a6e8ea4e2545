"""Restorations: a backup's results take the place of the present ones, all or none."""

import asyncio
import contextlib
import random
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import apsw
import orjson
import pytest

from server.errors import BackupUnusableError
from server.prediction import Prediction, Status, Timings, accepted, now
from server.store import IdempotencyKey, Query, Upload
from server.store.restoration import AT_ONCE, SWEPT_AT_ONCE, Restoration
from server.store.sqlite import SQLiteStore
from tests.unit.store.stores import NOON, TIMINGS, UPLOAD, another_program, made, opened

MOMENT = NOON + 1000


def result(completed_at: int = MOMENT, label: str = "cat") -> Prediction:
    return Prediction(
        accepted().request_id,
        Status.SUCCESS,
        NOON,
        orjson.dumps({"label": label}),
        None,
        completed_at,
        "cats@2",
        Timings(1, 2, 3),
    )


def time_of(milliseconds: int) -> str:
    with contextlib.closing(apsw.Connection(":memory:")) as connection:
        text: str = connection.execute(
            "SELECT strftime('%Y-%m-%dT%H:%M:%fZ', ? / 1000.0, 'unixepoch')", (milliseconds,)
        ).get
    return text


def line(prediction: Prediction) -> bytes:
    times = {"createdAt": prediction.created_at, "completedAt": prediction.completed_at or 0}
    record = {"error": None, "model": None, "timings": None}
    record |= orjson.loads(prediction.to_json())
    return orjson.dumps(record | {key: time_of(value) for key, value in times.items()})


def deletion(request_id: str) -> bytes:
    return orjson.dumps({"deleted": request_id, "at": time_of(MOMENT)})


def clearing(milliseconds: int) -> bytes:
    return orjson.dumps({"cleared": time_of(milliseconds)})


async def restored(store: SQLiteStore, lines: Iterable[bytes]) -> Restoration:
    restoration = store.restoration()
    await restoration.begin()
    await restoration.add(list(lines))
    await restoration.swap({})
    return restoration


async def results(store: SQLiteStore) -> dict[str, Prediction]:
    page = await store.page(Query(limit=100_000))
    return {each.request_id: each for each in page.predictions}


async def exported(store: SQLiteStore) -> Prediction:
    """A result that backups hold, as far as the store knows."""
    new = accepted().succeeded(b"{}", "cats@2", TIMINGS)
    await store.add(new)
    changes = await store.journal.changes(1000, 2**20)
    assert changes
    await store.journal.exported(changes.last)
    return new


def by_id(*predictions: Prediction) -> dict[str, Prediction]:
    return {each.request_id: each for each in predictions}


async def test_the_backup_takes_the_place_of_what_was_exported(store: SQLiteStore) -> None:
    await exported(store)
    new = [result() for _ in range(3)]
    restoration = await restored(store, map(line, new))
    assert await results(store) == by_id(*new)
    assert restoration.results == 3
    assert await store.journal.waiting() == 0


async def test_what_is_pending_unexported_or_recorded_meanwhile_stays(store: SQLiteStore) -> None:
    gone = await exported(store)
    waiting, pending = made(Status.SUCCESS), made()
    await store.add(waiting)
    await store.add(pending, UPLOAD)
    restoration = store.restoration()
    await restoration.begin()
    later, later_pending = made(Status.FAIL), made()
    await store.add(later)
    await store.add(later_pending, UPLOAD)
    new = result()
    await restoration.add([line(new)])
    await restoration.swap({"snapshot/a": 0, "w": 3})
    assert await results(store) == by_id(waiting, pending, new, later, later_pending)
    assert gone.request_id not in await results(store)
    assert restoration.results == 1
    found = await store.accepted(pending.request_id)
    assert found
    assert found.upload == UPLOAD
    assert [each.request_id for each in await store.pending(0, 10)] == [
        pending.request_id,
        later_pending.request_id,
    ]
    assert await store.finish(pending.succeeded(b"{}", "cats@2", TIMINGS))
    assert await store.journal.absorbed() == {"snapshot/a": 0, "w": 3}


async def test_results_are_merged_in_any_order_and_count_once(store: SQLiteStore) -> None:
    old = result(label="old")
    new = Prediction(
        old.request_id, Status.SUCCESS, NOON, b'{"label":"new"}', None, MOMENT + 1, "cats@2"
    )
    dead, cleared, other = result(), result(NOON), result()
    lines = [
        *map(line, (old, new, dead, cleared, other, other)),
        deletion(dead.request_id),
        clearing(NOON),
        clearing(5),
    ]
    for seed in range(6):
        random.Random(seed).shuffle(lines)
        restoration = await restored(store, lines)
        assert await results(store) == by_id(new, other)
        assert restoration.results == 2


async def test_what_the_backup_deletes_is_deleted_here_exported_or_not(store: SQLiteStore) -> None:
    waiting = made(Status.SUCCESS)
    await store.add(waiting)
    await restored(store, [deletion(waiting.request_id)])
    assert await results(store) == {}
    await restored(store, [line(waiting)])
    assert await results(store) == {}


async def test_what_the_backup_cleared_is_gone_and_new_results_are_not(store: SQLiteStore) -> None:
    await store.add(made(Status.SUCCESS))
    future = now() + 3_600_000
    await restored(store, [clearing(future), line(result(future)), line(result(future + 1))])
    assert len(await results(store)) == 1
    await store.add(made(Status.SUCCESS))  # by a clock that is behind that of another server
    await restored(store, [line(result(future + 1)), clearing(future)])
    assert len(await results(store)) == 2


async def test_what_is_deleted_here_meanwhile_stays_deleted(store: SQLiteStore) -> None:
    first, second, third = await exported(store), await exported(store), await exported(store)
    await store.delete(first.request_id)
    restoration = store.restoration()
    await restoration.begin()
    await restoration.add([line(each) for each in (first, second, third)])
    await store.delete(second.request_id)
    await restoration.swap({})
    assert list(await results(store)) == [third.request_id]


async def test_deleting_all_meanwhile_deletes_the_backup_s_too(store: SQLiteStore) -> None:
    restoration = store.restoration()
    await restoration.begin()
    ahead, dead = result(now() + 3_600_000), result()
    await restoration.add([line(ahead), line(dead), line(result()), deletion(dead.request_id)])
    await store.delete_all()
    await restoration.swap({})
    assert (await results(store)).keys() == by_id(ahead).keys()


async def test_deletions_while_deleted_results_are_swept_are_seen(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, deleted = await exported(store), await exported(store)
    restoration = store.restoration()
    await restoration.begin()
    await restoration.add([line(kept), line(deleted)])
    sweep = restoration._sweep

    async def sweep_and_delete() -> dict[str, int]:
        swept = await sweep()
        await store.delete(deleted.request_id)
        return swept

    monkeypatch.setattr(restoration, "_sweep", sweep_and_delete)
    await restoration.swap({})
    assert list(await results(store)) == [kept.request_id]


async def test_nothing_changes_until_the_swap_nor_if_it_never_comes(store: SQLiteStore) -> None:
    here = await exported(store)
    restoration = store.restoration()
    await restoration.begin()
    await restoration.add([line(result()), deletion(here.request_id), clearing(now() + 5000)])
    assert await results(store) == by_id(here)
    await restoration.abandon()
    assert await results(store) == by_id(here)
    async with store.snapshot() as view:
        (piece,) = [piece async for piece in view.pieces()]
    assert (piece.lines, piece.results) == (1, 1), "a refused backup buries nothing"
    await restored(store, [line(here)])
    assert await results(store) == by_id(here)


async def test_a_line_of_something_else_is_refused(store: SQLiteStore) -> None:
    restoration = store.restoration()
    await restoration.begin()
    with pytest.raises(BackupUnusableError):
        await restoration.add([line(result()), b"{}"])
    await restoration.abandon()


async def test_what_an_import_left_when_the_server_was_killed_is_dropped(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        here = await exported(store)
        restoration = store.restoration()
        await restoration.begin()
        await restoration.add([line(result()), deletion(here.request_id)])
    async with opened(tmp_path) as store:
        assert await results(store) == by_id(here)
        with another_program(tmp_path) as connection:
            rows = connection.execute("SELECT count(*) FROM sqlite_schema WHERE name LIKE 'imp%'")
            assert rows.get == 0
        await restored(store, [line(result())])
        assert len(await results(store)) == 1


async def test_imports_can_be_repeated_and_the_indexes_stay(tmp_path: Path) -> None:
    def plans() -> list[str]:
        with another_program(tmp_path) as connection:
            return [
                str(row[3]).partition(" (")[0].rstrip("0123456789_")
                for query in (
                    "SELECT * FROM predictions ORDER BY created_at DESC LIMIT 5",
                    "SELECT * FROM predictions WHERE status = 'Fail' ORDER BY created_at LIMIT 5",
                )
                for row in connection.execute(f"EXPLAIN QUERY PLAN {query}")
            ]

    async with opened(tmp_path) as store:
        new = [result() for _ in range(3)]
        before = plans()
        for _ in range(3):
            await restored(store, map(line, new))
        assert before == plans()
        with pytest.raises(apsw.ConstraintError):
            await store.add(new[0])
    async with opened(tmp_path) as store:
        await restored(store, map(line, new))
        await store.add(made(Status.SUCCESS))
        assert len(await results(store)) == 4


async def test_an_idempotency_key_still_finds_its_result(store: SQLiteStore) -> None:
    first, second = made(Status.SUCCESS), made(Status.SUCCESS)
    await store.add(first, key=IdempotencyKey("first", b"print"))
    await exported(store)
    await store.add(second, key=IdempotencyKey("second", b"print"))
    await restored(store, [line(result()), line(first), line(result())])
    assert await store.by_key("first", 0) == (b"print", first)
    assert await store.by_key("second", 0) == (b"print", second)
    await store.delete(first.request_id)
    assert await store.by_key("first", 0) is None


async def test_more_than_is_written_or_swept_at_once(store: SQLiteStore) -> None:
    many = [result() for _ in range(SWEPT_AT_ONCE + AT_ONCE + 7)]
    dead = many[::3]
    restoration = await restored(
        store, [*map(line, many), *(deletion(each.request_id) for each in dead)]
    )
    expected = by_id(*many).keys() - by_id(*dead).keys()
    assert (await results(store)).keys() == expected
    assert restoration.results == len(expected)


async def test_predicts_go_on_meanwhile(store: SQLiteStore) -> None:
    restoration = store.restoration()
    await restoration.begin()
    lines = [line(result()) for _ in range(2000)]

    async def keep_recording() -> list[str]:
        ids = []
        while not filled.done():
            new, pending = made(Status.SUCCESS), made()
            await store.add(new)
            await store.add(pending, Upload(b"cat", "cat.jpg"))
            assert await store.finish(pending.succeeded(b"{}", "cats@2", TIMINGS))
            ids += [new.request_id, pending.request_id]
        return ids

    async def fill() -> None:
        for start in range(0, len(lines), AT_ONCE):
            await restoration.add(lines[start : start + AT_ONCE])
        await restoration.swap({})

    filled = asyncio.create_task(fill())
    ids = await keep_recording()
    await filled
    assert len(ids) > 2
    assert len(await results(store)) == 2000 + len(ids)
    assert set(ids) <= (await results(store)).keys()


async def test_large_results_are_gathered_in_bounded_memory(store: SQLiteStore) -> None:
    large = [line(result(label=f"{number}" + "a" * 2**20)) for number in range(2)]
    restoration = store.restoration()
    await restoration.begin()
    peaks = []
    tracemalloc.start()
    try:
        for _ in range(30):
            await restoration.add(large)
            peaks.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
    await restoration.swap({})
    assert restoration.results == 2
    assert peaks[-1] < 1.1 * peaks[2]
