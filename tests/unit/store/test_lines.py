"""The lines of a backup: written by SQLite, read back to the same prediction."""

import contextlib
from collections.abc import Iterator
from typing import Any

import apsw
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import BackupUnusableError
from server.prediction import Prediction, Status, Timings
from server.store import statements
from server.store.database import open_checked
from server.store.lines import CLEARING, DELETION, RESULT, Clearing, Deletion, parse
from server.store.rows import to_row
from tests.unit.store.stores import NOON, made

ID = "01890a5d-ac96-774b-bcce-b302099a8057"
YEAR_2200 = 7_258_118_400_000

text = st.text()  # with NUL, quotes, escapes and what lies beyond the BMP; no lone surrogates
numbers = st.floats(allow_nan=False, allow_infinity=False)
times = st.integers(0, YEAR_2200)
answers = st.recursive(
    st.none() | st.booleans() | numbers | st.integers(-(2**63), 2**64 - 1) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=8,
)
predictions = st.builds(
    Prediction,
    request_id=st.uuids().map(str),
    status=st.sampled_from([Status.SUCCESS, Status.FAIL]),
    created_at=times,
    response=answers.map(orjson.dumps),
    error=st.none() | text,
    completed_at=times.filter(bool),  # 0 is before the first clearing
    model=st.none() | text,
    timings=st.none() | st.builds(Timings, numbers, numbers, numbers),
)


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[apsw.Connection]:
    path = tmp_path_factory.mktemp("lines") / "predictions.db"
    with contextlib.closing(open_checked(path)) as connection:
        yield connection


def line_of(connection: apsw.Connection, prediction: Prediction) -> bytes:
    connection.execute("DELETE FROM predictions")
    connection.execute(statements.INSERT, to_row(prediction))
    line: str = connection.execute(f"SELECT {RESULT} FROM predictions").get  # noqa: S608
    return line.encode()


@given(prediction=predictions)
def test_any_result_is_read_back_as_it_was(
    connection: apsw.Connection, prediction: Prediction
) -> None:
    line = line_of(connection, prediction)
    assert b"\n" not in line
    assert parse(line) == prediction


@pytest.mark.parametrize("milliseconds", [0, 1, 999, 59_999, NOON + 7, YEAR_2200 - 1])
def test_times_are_kept_to_the_millisecond(connection: apsw.Connection, milliseconds: int) -> None:
    connection.execute("UPDATE clearing SET cleared_at = ?", (milliseconds,))
    line: str = connection.execute(f"SELECT {CLEARING} FROM clearing").get  # noqa: S608
    assert parse(line.encode()) == Clearing(milliseconds)
    connection.execute("INSERT OR REPLACE INTO tombstones VALUES (1, ?, ?)", (ID, milliseconds))
    line = connection.execute(f"SELECT {DELETION} FROM tombstones").get  # noqa: S608
    assert parse(line.encode()) == Deletion(ID, milliseconds)
    connection.execute("UPDATE clearing SET cleared_at = 0")


def test_a_result_is_the_one_that_clients_get(connection: apsw.Connection) -> None:
    prediction = made(Status.SUCCESS)
    line = orjson.loads(line_of(connection, prediction))
    for key, value in orjson.loads(prediction.to_json()).items():
        if key.endswith("At"):  # clients get whole seconds
            assert line[key][:19] == value[:19]
        else:
            assert line[key] == value


def test_a_lone_surrogate_is_refused_when_it_would_be_recorded_and_in_a_backup() -> None:
    with pytest.raises(TypeError):
        made().succeeded(orjson.dumps({"label": "\ud800"}), "cats@2", Timings(1, 2, 3))
    with pytest.raises(BackupUnusableError):
        parse(changed(response="?").replace(b'"?"', rb'"\ud800"'))


def changed(**changes: Any) -> bytes:  # Any: as JSON has it
    record = {
        "request_id": ID,
        "status": "Success",
        "response": {"label": "cat"},
        "createdAt": "2026-01-31T12:00:00.000Z",
        "completedAt": "2026-01-31T12:00:00.001Z",
        "error": None,
        "model": "cats@2",
        "timings": {"queued": 0.5, "decode": 1, "predict": 2},
    } | changes
    return orjson.dumps({key: value for key, value in record.items() if value is not ...})


def test_a_line_of_ours_is_understood() -> None:
    assert parse(changed()) == Prediction(
        ID,
        Status.SUCCESS,
        1_769_860_800_000,
        b'{"label":"cat"}',
        None,
        1_769_860_800_001,
        "cats@2",
        Timings(0.5, 1, 2),
    )


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"null",
        b"17",
        b"[]",
        b"{}",
        b'"request_id"',
        b'["request_id"]',
        b"\xff",
        b'{"deleted":"x","at":"2026-01-31T12:00:00.000Z"}',
        b'{"deleted":"%b"}' % ID.encode(),
        b'{"deleted":"%b","at":5}' % ID.encode(),
        b'{"cleared":"yesterday"}',
        b'{"cleared":"2026-01-31T12:00:00"}',  # of which zone?
        b'{"cleared":null}',
        changed(request_id="1"),
        changed(request_id=ID.upper()),
        changed(request_id=5),
        changed(status="Pending"),
        changed(status="Done"),
        changed(status=None),
        changed(status=[]),
        changed(response=...),
        changed(createdAt=None),
        changed(completedAt=None),
        changed(completedAt=...),
        changed(error=5),
        changed(error=...),
        changed(model=["cats"]),
        changed(timings={"queued": 1}),
        changed(timings={"queued": "long", "decode": 1, "predict": 2}),
        changed(timings=...),
        changed(timings=5),
        changed(timings=[]),
        changed(timings=False),
        changed(timings={"queued": "nan", "decode": 1, "predict": 2}),
    ],
)
def test_what_is_no_line_of_ours_is_refused_with_a_sentence(line: bytes) -> None:
    with pytest.raises(BackupUnusableError, match="holds a line that is no result"):
        parse(line)
