"""The journal: what changed since the last export, and what is remembered of deletions."""

import asyncio
import time
from pathlib import Path

import orjson
import pytest

from server.prediction import Prediction, Status, accepted, now
from server.store import Limits
from server.store.journal import TOMBSTONE_MS
from server.store.lines import Clearing, Deletion, parse
from server.store.sqlite import SQLiteStore
from tests.unit.store.stores import NOON, TIMINGS, UPLOAD, another_program, made, opened


async def told(store: SQLiteStore, most: int = 1000) -> list[Prediction | Deletion | Clearing]:
    changes = await store.journal.changes(most, 2**20)
    return [parse(line) for line in changes.lines] if changes else []


async def export(store: SQLiteStore, most: int = 1000) -> None:
    changes = await store.journal.changes(most, 2**20)
    assert changes
    await store.journal.exported(changes.last)


async def recorded(store: SQLiteStore) -> Prediction:
    new = made(Status.SUCCESS)
    await store.add(new)
    return new


def put_clock(monkeypatch: pytest.MonkeyPatch, milliseconds: int) -> None:
    moment = time.time_ns() + milliseconds * 1_000_000
    monkeypatch.setattr(time, "time_ns", lambda: moment)


async def test_nothing_is_to_be_exported_at_first(store: SQLiteStore) -> None:
    assert await store.journal.changes(1000, 1000) is None
    assert await store.journal.waiting() == 0


async def test_what_is_recorded_finished_and_deleted_is_told_in_order(store: SQLiteStore) -> None:
    first, pending = made(Status.SUCCESS), made()
    await store.add(first)
    await store.add(pending, UPLOAD)
    assert await told(store) == [first]
    second = pending.failed("model_error", "No.")
    await store.finish(second)
    assert await told(store) == [first, second]
    await store.delete(second.request_id)
    third = await recorded(store)
    *others, last = await told(store)
    assert others[0] == first
    assert {each[0] for each in others[1:] if isinstance(each, Deletion)} == {second.request_id}
    assert last == third
    assert await store.journal.waiting() == 4


async def test_a_pending_one_that_is_deleted_leaves_no_trace(store: SQLiteStore) -> None:
    pending = made()
    await store.add(pending, UPLOAD)
    await store.delete(pending.request_id)
    assert await told(store) == []


async def test_blocking_results_are_not_told_when_only_accepted_ones_are_to_be(
    tmp_path: Path,
) -> None:
    store = SQLiteStore(tmp_path, lambda _: None, export_added=False)
    pending = made()
    await store.add(pending, UPLOAD)
    await recorded(store)
    assert await told(store) == []
    finished = pending.succeeded(b"{}", "cats@2", TIMINGS)
    await store.finish(finished)
    assert await told(store) == [finished]
    await store.close()


async def test_what_was_exported_is_forgotten_and_nothing_else(store: SQLiteStore) -> None:
    results = [await recorded(store) for _ in range(5)]
    changes = await store.journal.changes(3, 2**20)
    assert changes
    late = await recorded(store)
    await store.journal.exported(changes.last)
    assert await told(store) == [*results[3:], late]


async def test_changes_survive_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        results = [await recorded(store) for _ in range(3)]
        await store.journal.absorb({"writer": 7})
    async with opened(tmp_path) as store:
        assert store.journal.news.is_set()
        assert await told(store) == results
        assert await store.journal.absorbed() == {"writer": 7}


async def test_a_group_has_so_many_changes_and_bytes_at_most_but_one_at_least(
    store: SQLiteStore,
) -> None:
    big = b'"' + b"a" * 10_000 + b'"'
    for _ in range(5):
        await store.add(accepted().succeeded(big, "cats@2", TIMINGS))

    async def count(most: int, max_bytes: int) -> int:
        changes = await store.journal.changes(most, max_bytes)
        return len(changes.lines) if changes else 0

    assert await count(1000, 1_000_000) == 5
    assert await count(4, 1_000_000) == 4
    assert await count(1000, 25_000) == 2
    assert await count(1000, 5) == 1


async def test_absorbed_numbers_only_grow(store: SQLiteStore) -> None:
    await store.journal.absorb({"a": 5, "b": 1})
    await store.journal.absorb({"a": 3, "b": 2, "c": 0})
    assert await store.journal.absorbed() == {"a": 5, "b": 2, "c": 0}


async def test_after_all_are_deleted_only_that_and_earlier_deletions_are_told(
    store: SQLiteStore,
) -> None:
    gone = await recorded(store)
    await recorded(store)
    await store.delete(gone.request_id)
    began = now()
    await store.delete_all()
    after = await recorded(store)
    *deletions, clearing, result = await told(store)
    assert {each[0] for each in deletions if isinstance(each, Deletion)} == {gone.request_id}
    assert isinstance(clearing, Clearing)
    assert clearing.cleared_at >= began
    assert isinstance(result, Prediction)
    assert result.request_id == after.request_id


async def test_all_that_is_there_was_completed_up_to_a_clearing_and_nothing_later_was(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await recorded(store)
    ahead = await recorded(store)
    pending = made()
    put_clock(monkeypatch, -3_600_000)
    await store.delete_all()
    await store.add(pending, UPLOAD)
    await store.finish(pending.succeeded(b"{}", "cats@2", TIMINGS))
    await recorded(store)
    clearing, *results = await told(store)
    assert isinstance(clearing, Clearing)
    assert clearing.cleared_at >= (ahead.completed_at or 0)
    assert len(results) == 2
    for each in results:
        assert isinstance(each, Prediction)
        assert each.completed_at == clearing.cleared_at + 1


async def test_clearings_never_go_back(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.delete_all()
    first = await told(store)
    put_clock(monkeypatch, -3_600_000)
    await store.delete_all()
    assert await told(store) == first


async def test_expired_results_are_told_as_deleted(store: SQLiteStore) -> None:
    results = [await recorded(store) for _ in range(3)]
    await export(store)
    expired = await store.expire(Limits(None, 1), 10)
    assert len(expired) == 2
    told_of = await told(store)
    assert [each[0] for each in told_of if isinstance(each, Deletion)] == expired
    assert len(told_of) == 2
    assert set(expired) < {each.request_id for each in results}


async def test_a_result_is_told_once_more_when_asked_for(store: SQLiteStore) -> None:
    result, pending = await recorded(store), made()
    await store.add(pending, UPLOAD)
    await export(store)
    await store.journal.touch(result.request_id)
    await store.journal.touch("unknown")
    await store.journal.touch(pending.request_id)
    assert store.journal.news.is_set()
    assert await told(store) == [result]


async def test_deletions_are_forgotten_a_week_after_they_were_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as store:
        results = [await recorded(store) for _ in range(6)]
        await export(store)
        for each in results[:5]:
            await store.delete(each.request_id)
        put_clock(monkeypatch, TOMBSTONE_MS + 1000)
        for left in (4, 3):  # those that the remote lacks are kept, however long it was away
            await export(store, most=1)
            assert len(await told(store)) == left
        await export(store)
        with another_program(tmp_path) as connection:
            assert connection.execute("SELECT count(*) FROM tombstones").get == 0
        await store.delete(results[5].request_id)
        await export(store)
        with another_program(tmp_path) as connection:
            assert connection.execute("SELECT count(*) FROM tombstones").get == 1


async def test_news_are_told_by_whatever_changes(store: SQLiteStore) -> None:
    async def news() -> None:
        async with asyncio.timeout(5):
            await store.journal.news.wait()
        store.journal.news.clear()

    await news()
    result = await recorded(store)
    await news()
    await store.delete(result.request_id)
    await news()
    await store.delete_all()
    await news()
    pending = made(created_at=NOON)
    await store.add(pending, UPLOAD)
    assert not store.journal.news.is_set()
    await store.finish(pending.succeeded(b"{}", "cats@2", TIMINGS))
    await news()


async def test_a_line_is_one_json_object_without_a_newline(store: SQLiteStore) -> None:
    await recorded(store)
    await store.delete_all()
    await recorded(store)
    changes = await store.journal.changes(10, 2**20)
    assert changes
    for line in changes.lines:
        assert b"\n" not in line
        assert isinstance(orjson.loads(line), dict)
