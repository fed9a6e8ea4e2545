"""Steps: what long work is told to do between them, so that it is seen and harms nobody."""

from collections.abc import Awaitable, Callable

Progress = Callable[[int, int], None]
"""Told how much is done, and of how much."""

GiveWay = Callable[[], Awaitable[None]]
"""Awaited between short steps of long work: it returns when what is urgent had its turn."""
