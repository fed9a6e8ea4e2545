"""What this server must reach, and whether it did."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from tools.bench.names import BATCHES, OURS, OVERLOAD, RAW
from tools.bench.row import Rows, Spread

IN_BATCHES: Final = ("litserve", "bentoml", "mosec")


class Target(NamedTuple):
    """One thing to reach.

    Attributes:
        what: For people.
        due: The least, or the most if `most`.
        found: What came of it.
    """

    what: str
    due: float
    found: Spread | None
    most: bool = False

    @property
    def met(self) -> bool:
        """Whether the median is as it must be."""
        if self.found is None:
            return False
        return self.found.median <= self.due if self.most else self.found.median >= self.due


def table(rows: Rows, titles: dict[str, str]) -> str:
    """All targets that there are figures for, in Markdown."""
    lines = ["| target | due | found | |", "|---|---|---|---|"]
    for each in targets(rows, titles):
        if found := each.found:
            spread = f"{found.median:.3g} ({found.low:.3g} to {found.high:.3g})"
            due = f"{'≤' if each.most else '≥'} {each.due:g}"
            met = "met" if each.met else "**missed**"
            lines.append(f"| {each.what} | {due} | {spread} | {met} |")
    return "\n".join(lines) + "\n"


def targets(rows: Rows, titles: dict[str, str]) -> Iterator[Target]:
    """Every target."""
    full = rows.spread("a", "16 clients", OURS, "share")
    yield Target("a: 16 clients, of the physical limit", 0.97, full)
    yield from _ahead(rows, titles, ("a", "16 clients", "share"), dict.fromkeys(titles, 1.0))
    alone = rows.spread("a", "1 client", OURS, "p50_share")
    yield Target("a: 1 client, p50 of the bare decode and infer", 1.10, alone, most=True)
    yield from _ahead(rows, titles, ("b", "5 kB", "rate"), {"fastapi": 3.0})
    yield from _ahead(rows, titles, ("b", "200 kB", "rate"), {"fastapi": 3.0, "mosec": 1.0})
    yield from _ahead(rows, titles, ("c", "4 clients", "share"), dict.fromkeys(titles, 3.0))
    yield Target("d: of the ideal schedule", 0.95, rows.spread("d", BATCHES, OURS, "share"))
    yield from _ahead(rows, titles, ("d", BATCHES, "share"), dict.fromkeys(IN_BATCHES, 1.0))
    raw = rows.part("e", ("accepts", OURS), ("accepts", RAW), "rate")
    yield Target("e: accepts, of raw SQLite", 0.8, raw)
    yield Target("f: right answers, of the peak", 0.95, rows.spread("f", OVERLOAD, OURS, "share"))
    wait = rows.spread("f", OVERLOAD, OURS, "p99_share")
    yield Target("f: p99, of what may wait and what runs, over the rate", 1.1, wait, most=True)
    ready = rows.spread("g", "start", OURS, "ready_seconds")
    yield Target("g: start to first answer, s", 1.5, ready, most=True)
    idle = rows.spread("g", "start", OURS, "idle_server_mib")
    yield Target("g: the server's process idle, MiB", 80, idle, most=True)
    yield from _flat(rows)


def _ahead(
    rows: Rows, titles: dict[str, str], what: tuple[str, str, str], due: dict[str, float]
) -> Iterator[Target]:
    """How many times as much as others: of the figure of a load of a workload."""
    workload, load, figure = what
    for name, least in due.items():
        if name != OURS:
            found = rows.part(workload, (load, OURS), (load, name), figure)
            title = titles.get(name, name)
            yield Target(f"{workload}: {load}, times {title}", least, found)


def _flat(rows: Rows) -> Iterator[Target]:
    loads = rows.loads("h")
    for call in dict.fromkeys(each.partition(", ")[0] for each in loads):
        ends = [each for each in loads if each.startswith(f"{call},")]
        found = rows.part("h", (ends[-1], OURS), (ends[0], OURS), "p50")
        size = f"{int(ends[-1].partition(', ')[2]):,}"
        yield Target(f"h: {call} with {size} results, of that with none", 1.2, found, most=True)
