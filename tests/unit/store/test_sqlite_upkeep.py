import tempfile
from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.prediction import Status
from server.store import IdempotencyKey, Limits, Query
from server.store.sqlite import SQLiteStore
from tests.unit.store.stores import NOON, TIMINGS, UPLOAD, another_program, every_id, made, opened

KEY = IdempotencyKey("order-7", b"fingerprint")


def rows_of_keys(folder: Path) -> int:
    with another_program(folder) as connection:
        found: int = connection.execute("SELECT count(*) FROM idempotency_keys").get
    return found


# Idempotency keys


async def test_a_key_finds_what_was_recorded_under_it_as_it_is_now(store: SQLiteStore) -> None:
    prediction = made()
    await store.add(prediction, UPLOAD, KEY)
    assert await store.by_key("order-7", NOON) == (b"fingerprint", prediction)
    finished = prediction.succeeded(b"{}", "cats@2", TIMINGS)
    await store.finish(finished)
    assert await store.by_key("order-7", NOON) == (b"fingerprint", finished)


async def test_a_key_that_is_unknown_or_too_old_finds_nothing(store: SQLiteStore) -> None:
    await store.add(made(), UPLOAD, KEY)
    await store.add(made(), UPLOAD)
    assert await store.by_key("order-8", 0) is None
    assert await store.by_key("order-7", NOON + 1) is None


async def test_a_key_that_is_used_again_finds_the_later_one(store: SQLiteStore) -> None:
    await store.add(made(created_at=NOON), UPLOAD, KEY)
    later = made(created_at=NOON + 5)
    await store.add(later, UPLOAD, KEY._replace(fingerprint=b"another"))
    assert await store.by_key("order-7", NOON) == (b"another", later)


async def test_a_key_is_kept_with_its_prediction_or_not_at_all(
    store: SQLiteStore, tmp_path: Path
) -> None:
    prediction = made()
    await store.add(prediction, UPLOAD)
    with pytest.raises(apsw.ConstraintError):
        await store.add(prediction, UPLOAD, KEY)
    assert rows_of_keys(tmp_path) == 0


async def test_a_key_goes_with_its_prediction(store: SQLiteStore, tmp_path: Path) -> None:
    first, second = made(), made()
    await store.add(first, UPLOAD, KEY)
    await store.add(second, UPLOAD, KEY._replace(value="order-8"))
    await store.delete(first.request_id)
    assert await store.by_key("order-7", 0) is None
    assert await store.by_key("order-8", 0) == (b"fingerprint", second)
    assert rows_of_keys(tmp_path) == 1
    await store.delete_all()
    assert rows_of_keys(tmp_path) == 0


async def test_old_keys_are_forgotten_and_their_predictions_stay(
    store: SQLiteStore, tmp_path: Path
) -> None:
    old, new = made(created_at=NOON), made(created_at=NOON + 5)
    await store.add(old, UPLOAD, KEY)
    await store.add(new, UPLOAD, KEY._replace(value="order-8"))
    await store.expire_keys(NOON + 5)
    assert rows_of_keys(tmp_path) == 1
    assert await store.by_key("order-8", 0) == (b"fingerprint", new)
    assert await store.get(old.request_id) == old


# Results that are too old


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(Status), st.integers(0, 4)), max_size=10),
    st.none() | st.integers(0, 5),
    st.none() | st.integers(0, 10),
    st.integers(1, 11),
)
async def test_the_oldest_finished_results_beyond_the_limits_are_deleted_and_no_others(
    records: list[tuple[Status, int]], before: int | None, beyond: int | None, most: int
) -> None:
    predictions = [made(status, created_at) for status, created_at in records]
    oldest_first = sorted(predictions, key=lambda each: each.created_at)
    too_many = len(predictions) - beyond if beyond is not None else 0
    doomed = [
        each.request_id
        for number, each in enumerate(oldest_first)
        if each.status is not Status.PENDING
        and (number < too_many or (before is not None and each.created_at < before))
    ][:most]
    with tempfile.TemporaryDirectory() as folder:
        async with opened(Path(folder)) as store:
            for prediction in predictions:
                await store.add(prediction)
            assert set(await store.expire(Limits(before, beyond), most)) == set(doomed)
            left = {each.request_id for each in predictions} - set(doomed)
            assert set(await every_id(store, Query(100))) == left


async def test_a_result_that_is_too_old_takes_its_key_along(
    store: SQLiteStore, tmp_path: Path
) -> None:
    await store.add(made(Status.FAIL), key=KEY)
    assert len(await store.expire(Limits(NOON + 1, None), 10)) == 1
    assert rows_of_keys(tmp_path) == 0


# Runs that were lost


async def test_the_runs_of_a_pending_prediction_are_counted_through_a_restart(
    tmp_path: Path,
) -> None:
    prediction = made()
    async with opened(tmp_path) as store:
        await store.add(prediction, UPLOAD)
        assert [await store.count_attempt(prediction.request_id) for _ in range(3)] == [1, 2, 3]
        assert await store.count_attempt(prediction.request_id, -1) == 2
    async with opened(tmp_path) as store:
        assert await store.accepted(prediction.request_id) == (prediction, UPLOAD, 2)


async def test_runs_are_counted_for_pending_predictions_only(store: SQLiteStore) -> None:
    finished = made(Status.SUCCESS)
    await store.add(finished)
    assert await store.count_attempt(finished.request_id) == 0
    assert await store.count_attempt("unknown") == 0


async def test_the_one_that_waits_longest_tells_since_when(store: SQLiteStore) -> None:
    assert await store.oldest_pending() is None
    await store.add(made(Status.SUCCESS, NOON))
    first = made(created_at=NOON + 10)
    await store.add(first, UPLOAD)
    await store.add(made(created_at=NOON + 5), UPLOAD)  # the clock jumped back
    assert await store.oldest_pending() == NOON + 10
    await store.delete(first.request_id)
    assert await store.oldest_pending() == NOON + 5
