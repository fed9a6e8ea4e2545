"""Retries: how long is waited, and when no longer."""

import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tools.dataloop.errors import RefusedError, TryLaterError
from tools.dataloop.retries import Retries
from tools.dataloop.transport import refused, retry_after


class Failing:
    """Fails so many times, each with what the other side asked to wait."""

    def __init__(self, times: int, asked: float | None = 0.0) -> None:
        self.times = times
        self.asked = asked
        self.made: list[float] = []

    def request(self) -> str:
        self.made.append(time.monotonic())
        if len(self.made) <= self.times:
            raise TryLaterError("not now", self.asked)
        return "done"


def test_a_request_is_made_again_until_it_succeeds() -> None:
    failing = Failing(3)
    assert Retries(3, threading.Event()).call(failing.request) == "done"
    assert len(failing.made) == 4


def test_after_the_last_retry_its_failure_is_told() -> None:
    failing = Failing(9)
    with pytest.raises(TryLaterError, match="not now"):
        Retries(2, threading.Event()).call(failing.request)
    assert len(failing.made) == 3


def test_nothing_is_asked_before_retry_after() -> None:
    failing = Failing(2, asked=0.3)
    Retries(2, threading.Event()).call(failing.request)
    first, second, third = failing.made
    assert second - first >= 0.3
    assert third - second >= 0.3


def test_what_is_refused_for_good_is_not_asked_again() -> None:
    asked: list[int] = []

    def request() -> None:
        asked.append(1)
        raise RefusedError(403, "no")

    with pytest.raises(RefusedError):
        Retries(5, threading.Event()).call(request)
    assert len(asked) == 1


def test_a_wait_ends_when_the_run_is_to_stop() -> None:
    stop = threading.Event()
    failing = Failing(9, asked=60)
    threading.Timer(0.1, stop.set).start()
    began = time.monotonic()
    with pytest.raises(TryLaterError):
        Retries(5, stop).call(failing.request)
    assert time.monotonic() - began < 30


def test_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after("7") == 7
    assert retry_after("-7") == 0
    assert retry_after(None) is None
    assert retry_after("soon") is None
    assert retry_after("inf") is None
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=50), usegmt=True)
    assert 40 < (retry_after(date) or 0) <= 50


@pytest.mark.parametrize(
    ("status", "asked", "later"),
    [
        (400, None, False),
        (409, "1", False),
        (429, None, True),
        (429, "5", True),
        (429, "3600", False),
        (500, None, True),
        (503, "0", True),
    ],
)
def test_429_and_5xx_are_for_later_unless_much_later(
    status: int, asked: str | None, later: bool
) -> None:
    error = refused(status, "the gate", "ill", asked)
    assert isinstance(error, TryLaterError) is later
    assert str(error).startswith(f"the gate answers {status}: ill")
