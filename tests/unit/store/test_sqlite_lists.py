import tempfile
from itertools import product
from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.prediction import Status, now
from server.store import Pending, Query, statements
from server.store.sqlite import SQLiteStore
from tests.unit.store.stores import (
    NOON,
    UPLOAD,
    another_program,
    every_id,
    made,
    opened,
)


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


@settings(max_examples=40, deadline=None)
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
        assert (
            " USING " in step
            or step.startswith(("LIST SUBQUERY", "SCALAR SUBQUERY"))
            or step == "SCAN clearing"  # a row
            or statement
            in {
                statements.DELETE_ALL,
                statements.DELETE_ALL_IMAGES,
                statements.DELETE_ALL_KEYS,
                statements.LAST_SEQ,  # the end of the table alone
                statements.OLDEST_PENDING,  # its beginning
            }
        )


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
        (statements.COUNTS, "SCAN predictions USING COVERING INDEX predictions_by_status"),
    ],
)
async def test_a_list_reads_only_its_own_part_of_an_index(
    store: SQLiteStore, tmp_path: Path, statement: str, step: str
) -> None:
    await store.counts()
    with another_program(tmp_path) as connection:
        assert query_plan(connection, statement) == [step]
