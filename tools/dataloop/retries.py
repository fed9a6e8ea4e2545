"""Retries: which failed requests are made again, how often and after how long."""

import threading
from collections.abc import Callable
from typing import Final, TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_attempt,
    stop_any,
    stop_when_event_set,
    wait_random_exponential,
)

from tools.dataloop.errors import TryLaterError

FIRST_SECONDS: Final = 0.5
MOST_SECONDS: Final = 60.0

Answer = TypeVar("Answer")
_back_off: Final = wait_random_exponential(multiplier=FIRST_SECONDS, max=MOST_SECONDS)


class Retries:
    """Makes requests again that failed for now, until they succeed or it is enough.

    Args:
        most: How often a request is made again.
        stop: Once set, nothing is made again and no wait goes on.
    """

    def __init__(self, most: int, stop: threading.Event) -> None:
        self._attempts = Retrying(
            retry=retry_if_exception_type(TryLaterError),
            wait=_wait,
            stop=stop_any(stop_after_attempt(most + 1), stop_when_event_set(stop)),
            sleep=sleep_using_event(stop),
            reraise=True,
        )

    def call(self, request: Callable[[], Answer]) -> Answer:
        """What the request answers, at last.

        Raises:
            TryLaterError: The last failure.
        """
        return self._attempts(request)


def _wait(state: RetryCallState) -> float:
    """Never before the other side asked for; a little later, so that not all come at once."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, TryLaterError) else None
    back_off = _back_off(state)
    return back_off if asked is None else asked + min(back_off, FIRST_SECONDS) / 2
