import time
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import errors
from server.errors import BY_CODE, ServerError
from server.prediction import (
    TRANSITIONS,
    Prediction,
    Status,
    Timings,
    TransitionError,
    accepted,
    now,
    timestamp,
)

TIMINGS = Timings(queued=1.5, decode=2.0, predict=0.25)
ANSWER = b'{"label":"cat","confidence":0.5}'
NOON = 1_769_860_800_000  # 2026-01-31T12:00:00Z


def finish(prediction: Prediction, status: Status) -> Prediction:
    if status is Status.SUCCESS:
        return prediction.succeeded(ANSWER, "cats@2", TIMINGS)
    return prediction.failed("model_error", "It broke.", "cats@2", TIMINGS)


def wire(prediction: Prediction) -> dict[str, object]:
    record: dict[str, object] = orjson.loads(prediction.to_json())
    return record


def test_an_accepted_prediction_is_pending_under_a_new_uuid() -> None:
    before = now()
    first, second = accepted(), accepted()
    assert first.status is Status.PENDING
    assert UUID(first.request_id).version == 7
    assert str(UUID(first.request_id)) == first.request_id
    assert first.request_id != second.request_id
    assert before <= first.created_at <= now()


def test_a_prediction_can_not_be_changed_in_place() -> None:
    with pytest.raises(FrozenInstanceError):
        accepted().status = Status.FAIL  # type: ignore[misc]  # that it may not is what we test


def test_pending_becomes_success_or_fail_and_nothing_comes_after_those() -> None:
    following = {Status.PENDING: {Status.SUCCESS, Status.FAIL}}
    following |= {Status.SUCCESS: set(), Status.FAIL: set()}
    assert following == TRANSITIONS


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("following", [Status.SUCCESS, Status.FAIL])
def test_a_prediction_takes_only_a_status_that_the_table_lets_follow(
    status: Status, following: Status
) -> None:
    prediction = Prediction("an-id", status, NOON)
    if following in TRANSITIONS[status]:
        assert finish(prediction, following).status is following
    else:
        with pytest.raises(TransitionError, match=f"an-id is {status}"):
            finish(prediction, following)


def test_finishing_leaves_the_pending_record_as_it_was() -> None:
    pending = accepted()
    finished = pending.succeeded(ANSWER, None, TIMINGS)
    assert pending.status is Status.PENDING
    assert pending.response == b"null"
    assert pending.completed_at is None
    assert (finished.request_id, finished.created_at) == (pending.request_id, pending.created_at)


def test_a_prediction_completes_now_and_never_before_it_was_created() -> None:
    before = now()
    completed = accepted().succeeded(ANSWER, None, TIMINGS).completed_at
    assert completed is not None
    assert before <= completed <= now()
    the_clock_jumped_back = Prediction("an-id", Status.PENDING, now() + 3_600_000)
    finished = the_clock_jumped_back.failed("model_error", "It broke.")
    assert finished.completed_at == the_clock_jumped_back.created_at


def test_a_pending_result_has_no_answer_and_no_end() -> None:
    assert wire(Prediction("an-id", Status.PENDING, NOON)) == {
        "request_id": "an-id",
        "status": "Pending",
        "response": None,
        "createdAt": "2026-01-31T12:00:00Z",
    }


def test_a_success_shows_the_models_answer_as_it_is() -> None:
    prediction = Prediction(
        "an-id",
        Status.SUCCESS,
        NOON,
        ANSWER,
        completed_at=NOON + 61_000,
        model="cats@2",
        timings=TIMINGS,
    )
    assert wire(prediction) == {
        "request_id": "an-id",
        "status": "Success",
        "response": {"label": "cat", "confidence": 0.5},
        "createdAt": "2026-01-31T12:00:00Z",
        "completedAt": "2026-01-31T12:01:01Z",
        "model": "cats@2",
        "timings": {"queued": 1.5, "decode": 2.0, "predict": 0.25},
    }


def test_a_fail_shows_its_code_and_its_sentence_whatever_characters_it_has() -> None:
    sentence = 'The model raised: "\\ \n</script> \u2028 Ä 🐈"'
    record = wire(accepted().failed("model_error", sentence))
    assert (record["status"], record["error"]) == ("Fail", "model_error")
    assert record["response"] == sentence
    assert "model" not in record
    assert "timings" not in record


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31)))  # noqa: DTZ001 - made aware below
def test_a_timestamp_names_its_second_in_utc(moment: datetime) -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    text = timestamp((moment.replace(tzinfo=UTC) - epoch) // timedelta(milliseconds=1))
    assert text.endswith("Z")
    assert datetime.fromisoformat(text) == moment.replace(microsecond=0, tzinfo=UTC)


def test_a_timestamp_is_in_utc_wherever_the_server_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as context:
        context.setenv("TZ", "Asia/Kolkata")
        time.tzset()
        assert timestamp(NOON) == "2026-01-31T12:00:00Z"
    time.tzset()


def every_error() -> list[type[ServerError]]:
    return [each for each in vars(errors).values() if isinstance(each, type)]


def test_every_error_has_a_code_of_its_own_by_which_it_is_found_again() -> None:
    assert {error.code: error for error in every_error()} == BY_CODE
    assert len(BY_CODE) == len(every_error())


@pytest.mark.parametrize("error", every_error(), ids=lambda error: error.code)
def test_an_error_has_a_client_or_server_status_and_keeps_its_sentence(
    error: type[ServerError],
) -> None:
    raised = error("What is wrong and what to do.", retry_after=2)
    assert 400 <= raised.status < 600
    assert str(raised) == raised.sentence == "What is wrong and what to do."
    assert raised.retry_after == 2
    assert error.__doc__ != ServerError.__doc__ or error is ServerError
