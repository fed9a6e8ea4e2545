import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import MultiDict

from server.errors import InvalidParameterError, MalformedIdError
from server.prediction import Status
from server.store import Cursor, Query
from server.web import parameters

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INT64 = st.integers(-(2**63), 2**63 - 1)


def query(**values: str) -> Query:
    return parameters.query(MultiDict(values))[0]


def refusal(**values: str) -> str:
    with pytest.raises(InvalidParameterError) as refused:
        query(**values)
    return refused.value.sentence


@given(st.uuids())
def test_a_request_id_is_read_in_any_case(given_id: uuid.UUID) -> None:
    assert parameters.request_id(str(given_id)) == str(given_id)
    assert parameters.request_id(str(given_id).upper()) == str(given_id)
    assert parameters.request_id(given_id.hex) == str(given_id)


@pytest.mark.parametrize(
    "text",
    [
        *["", "1", "status", "../etc/passwd", "1" * 31, "1" * 33, "g" * 32, "1" * 10_000, "\ud800"],
        *["0x" + "1" * 30, "+" + "1" * 31, "1_" * 15 + "11", "\u0661" * 32],  # numbers, to Python
    ],
)
def test_what_is_no_uuid_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(MalformedIdError, match="such as 123e4567"):
        parameters.request_id(text)


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "1", "yes", "on"])
def test_a_flag_is_set_in_any_usual_spelling(text: str) -> None:
    assert parameters.boolean("save_locally", text) is True


@pytest.mark.parametrize("text", ["false", "False", "0", "no", "off", ""])
def test_a_flag_is_not_set_in_any_usual_spelling(text: str) -> None:
    assert parameters.boolean("save_locally", text) is False


@pytest.mark.parametrize("text", ["maybe", "2", "truefalse", " ", "x" * 10_000])
def test_another_value_of_a_flag_is_refused_by_its_name_and_briefly(text: str) -> None:
    with pytest.raises(
        InvalidParameterError, match=r"^save_locally must be true or false"
    ) as error:
        parameters.boolean("save_locally", text)
    assert len(error.value.sentence) < 100


def test_without_parameters_everything_is_asked_for_in_pages_of_the_largest_size() -> None:
    assert parameters.query(MultiDict()) == (Query(limit=parameters.MAX_LIMIT), True)


def test_a_limit_asks_for_one_page() -> None:
    assert parameters.query(MultiDict(limit="7")) == (Query(limit=7), False)


@given(st.integers(1, parameters.MAX_LIMIT))
def test_a_limit_within_bounds_is_taken(limit: int) -> None:
    assert query(limit=str(limit)).limit == limit


@given(
    st.one_of(
        st.integers(max_value=0), st.integers(parameters.MAX_LIMIT + 1, 10**30), st.floats()
    ).map(str)
)
@example("0000005000000")  # too large, however many zeros it begins with
@example("9" * 100_000)
@example("")
@example("+5")
@example("\u0663")
@example("1\u0663")
@example("1e2")
def test_another_limit_is_refused(text: str) -> None:
    assert refusal(limit=text) == "limit must be a whole number from 1 to 1000."


@pytest.mark.parametrize("status", list(Status))
def test_a_status_is_read_in_any_case(status: Status) -> None:
    for text in (status.value, status.lower(), status.upper()):
        assert query(status=text).status is status


@pytest.mark.parametrize("text", ["", "Done", "PendingX", "None"])
def test_an_unknown_status_is_refused_with_the_known_ones(text: str) -> None:
    assert refusal(status=text) == "status must be one of Pending, Success, Fail."


@given(st.integers(0, 253_000_000_000_000), st.sampled_from([-11.5, 0, 2, 14]))
@example(1001, 0)  # as a float of seconds, it would be less than a whole number
def test_since_is_exact_to_the_millisecond_in_any_zone(milliseconds: int, hours: float) -> None:
    moment = EPOCH + timedelta(milliseconds=milliseconds)
    zone = timedelta(hours=hours)
    text = f"{(moment.replace(tzinfo=None) + zone).isoformat()}{sign(zone)}"
    assert query(since=text).since == milliseconds


def sign(zone: timedelta) -> str:
    minutes = abs(zone) // timedelta(minutes=1)
    return f"{'-' if zone < timedelta() else '+'}{minutes // 60:02}:{minutes % 60:02}"


def test_since_without_a_zone_is_utc_wherever_the_server_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as context:
        context.setenv("TZ", "Asia/Kolkata")
        time.tzset()
        for zone in ("", "Z", "+00:00"):
            assert query(since=f"2026-01-31T12:00:00{zone}").since == 1_769_860_800_000
    time.tzset()


@pytest.mark.parametrize(
    "text", ["", "now", "1769860800", "2026-02-30T00:00:00Z", "2026-01-31T12:00:00 01:00", "\ud800"]
)
def test_since_that_is_no_time_is_refused_with_an_example(text: str) -> None:
    assert refusal(since=text) == "since must be a time such as 2026-01-31T12:00:00Z."


@given(INT64, INT64)
def test_a_cursor_comes_back_as_the_place_it_was_made_from(created_at: int, seq: int) -> None:
    place = Cursor(created_at, seq)
    text = parameters.cursor(place)
    assert query(cursor=text).before == place
    assert text.replace("-", "").replace("_", "").isalnum()  # nothing to quote in a URL


@given(st.text(max_size=20))
@example("A" * 21)
@example("A" * 23)
@example("!" + "A" * 22)
@example("A" * 21 + "B")
@example("A" * 100_000)
@example("é" * 22)
@example("\ud800" * 22)
def test_a_cursor_that_is_none_of_ours_is_refused(text: str) -> None:
    assert refusal(cursor=text).startswith("cursor must be one that this server gave")


def test_all_parameters_are_read_together() -> None:
    place = Cursor(5, 6)
    values = MultiDict(
        limit="3", status="fail", since="1970-01-01T00:00:01Z", cursor=parameters.cursor(place)
    )
    assert parameters.query(values) == (Query(3, Status.FAIL, 1000, place), False)
