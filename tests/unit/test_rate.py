import pytest

from server import rate
from server.rate import WINDOW_SECONDS, Rate


class Clock:
    """The time in place of the rate's own."""

    def __init__(self) -> None:
        self.seconds = 1000.5

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rate, "time", clock)
    return clock


def mark(rate: Rate, events: int) -> None:
    for _ in range(events):
        rate.mark()


def test_there_is_no_rate_at_first(clock: Clock) -> None:
    assert Rate().per_second() == 0
    assert clock.seconds > 0


def test_the_rate_of_a_young_server_is_of_its_life(clock: Clock) -> None:
    rate = Rate()
    mark(rate, 6)
    assert rate.per_second() == 6  # of a second at least: a burst at the start is no great rate
    clock.seconds += 3
    assert rate.per_second() == 2


def test_the_rate_of_a_steady_stream_is_its_own(clock: Clock) -> None:
    rate = Rate()
    for _ in range(3 * WINDOW_SECONDS):
        mark(rate, 5)
        clock.seconds += 1
    assert rate.per_second() == pytest.approx(5, rel=0.02)


def test_what_was_a_minute_ago_is_forgotten(clock: Clock) -> None:
    rate = Rate()
    mark(rate, 600)
    clock.seconds += WINDOW_SECONDS - 1
    assert rate.per_second() == pytest.approx(600 / (WINDOW_SECONDS - 1))
    clock.seconds += 2
    assert rate.per_second() == 0


def test_a_pause_lowers_the_rate(clock: Clock) -> None:
    rate = Rate()
    clock.seconds += WINDOW_SECONDS
    mark(rate, 120)
    assert rate.per_second() == 2
    clock.seconds += 30
    mark(rate, 60)
    assert rate.per_second() == 3
    clock.seconds += 31
    assert rate.per_second() == 1


def test_a_long_life_takes_no_more_room(clock: Clock) -> None:
    rate = Rate()
    for _ in range(10 * WINDOW_SECONDS):
        mark(rate, 1)
        clock.seconds += 1
    assert len(rate._buckets) <= WINDOW_SECONDS + 1
