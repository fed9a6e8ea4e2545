"""The rate: how many a second, lately."""

import time
from collections import deque
from typing import Final

WINDOW_SECONDS: Final = 60


class Rate:
    """Counts events in buckets of a second, and forgets them after a minute."""

    def __init__(self) -> None:
        self._began: Final = time.monotonic()
        self._buckets: deque[list[int]] = deque(maxlen=WINDOW_SECONDS + 1)  # [second, events]

    def mark(self) -> None:
        """One more."""
        second = int(time.monotonic())
        if not self._buckets or self._buckets[-1][0] != second:
            self._buckets.append([second, 0])
        self._buckets[-1][1] += 1

    def per_second(self) -> float:
        """The mean of the last minute, or of the time since the beginning if that is shorter."""
        moment = time.monotonic()
        events = sum(n for second, n in self._buckets if second > moment - WINDOW_SECONDS)
        return events / max(1.0, min(WINDOW_SECONDS, moment - self._began))
