"""How much is measured: a whole run, and a quick one that only shows that everything works."""

from dataclasses import dataclass, replace
from typing import Final

WORKLOADS: Final = {
    "a": "real model, 640x427 photos",
    "b": "null model: the server's own cost",
    "c": "real model, 12-megapixel photos",
    "d": "a model that gains from batches",
    "e": "durable accepts",
    "f": "three times as much as can be done",
    "g": "start and memory",
    "h": "growth: 0 to 1,000,000 stored results",
}


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        rounds: Of all systems, in turn, at most.
        minutes: For the rounds: no round begins that would not fit in, judged by the one before.
        seconds: Each load.
        warm_seconds: Before the first load of a start, not counted.
        clients: Of workload a.
        open_share: Of the physical limit: the rate of the open loop of workload a.
        batch_seconds: The load of workload d: many times as long as a batch takes.
        overload: Times the capacity, in workload f.
        overload_seconds: How long: longer than what may wait takes.
        waiting: Requests that the open loop can have under way.
        stored: Results there are, in workload h.
    """

    rounds: int = 4
    minutes: float = 33
    seconds: float = 3
    warm_seconds: float = 1
    clients: tuple[int, ...] = (1, 4, 16, 64)
    open_share: float = 0.6
    batch_seconds: float = 8
    overload: float = 3
    overload_seconds: float = 6
    waiting: int = 1000
    stored: tuple[int, ...] = (0, 10_000, 1_000_000)


FULL: Final = Plan()
QUICK: Final = replace(
    FULL,
    rounds=1,
    seconds=2,
    clients=(1, 16),
    batch_seconds=4,
    overload_seconds=4,
    stored=(0, 10_000),
)
