"""One measurement, and what many of them come to: medians, spreads, ratios."""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import NamedTuple


class Row(NamedTuple):
    """One measurement.

    Attributes:
        workload: `a` to `h`.
        load: What was done, such as "16 clients".
        system: Whose name; `limit` for the physical limit.
        round: From 0.
        figures: By their name.
        fault: Why they don't count, if so.
    """

    workload: str
    load: str
    system: str
    round: int
    figures: dict[str, float]
    fault: str | None = None


class Spread(NamedTuple):
    """The median of the rounds, and the least and greatest."""

    median: float
    low: float
    high: float


class Rows:
    """All measurements.

    Args:
        rows: In the order they were made.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = list(rows)

    def faults(self, system: str) -> list[str]:
        """Why figures of a system don't count."""
        return sorted(
            {
                f"{row.workload} ({row.load}): {row.fault}"
                for row in self._rows
                if row.system == system and row.fault
            }
        )

    def by_round(self, workload: str, load: str, system: str, figure: str) -> dict[int, float]:
        """A figure of each round; nothing of a system that ever answered wrongly there."""
        rows = [row for row in self._rows if row[:3] == (workload, load, system)]
        if any(row.fault for row in rows):
            return {}
        return {row.round: row.figures[figure] for row in rows if figure in row.figures}

    def spread(self, workload: str, load: str, system: str, figure: str) -> Spread | None:
        """A figure over the rounds; None if there is none."""
        return spread(self.by_round(workload, load, system, figure).values())

    def part(
        self, workload: str, one: tuple[str, str], other: tuple[str, str], figure: str
    ) -> Spread | None:
        """A figure of one load and system in parts of another's, round by round."""
        ours = self.by_round(workload, *one, figure)
        theirs = self.by_round(workload, *other, figure)
        return spread(ours[number] / theirs[number] for number in ours if theirs.get(number))

    def pooled(self, workload: str, load: str, figure: str) -> Spread | None:
        """A figure over all systems and rounds."""
        rows = [row for row in self._rows if row[:2] == (workload, load)]
        return spread(row.figures[figure] for row in rows if figure in row.figures)

    def greatest(self, figure: str, loads: Iterable[str]) -> Row | None:
        """The measurement with the most of it, of these loads."""
        rows = [row for row in self._rows if row.load in loads and figure in row.figures]
        return max(rows, key=lambda row: row.figures[figure], default=None)

    def loads(self, workload: str) -> list[str]:
        """What was done in a workload, in the order of the first round."""
        return list(dict.fromkeys(row.load for row in self._rows if row.workload == workload))

    def systems(self, workload: str) -> list[str]:
        """Who was measured in a workload, likewise."""
        return list(dict.fromkeys(row.system for row in self._rows if row.workload == workload))


def spread(values: Iterable[float]) -> Spread | None:
    """Of the values; None if there are none."""
    found: Sequence[float] = sorted(values)
    return Spread(median(found), found[0], found[-1]) if found else None
