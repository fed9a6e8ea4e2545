"""The tables: what was found, in Markdown."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from tools.bench.names import OPEN, OURS, OVERLOAD, RAW
from tools.bench.plan import WORKLOADS
from tools.bench.row import Rows, Spread

_NONE: Final = "-"
_LIMIT: Final = "physical limit"


class Tables:
    """Makes them.

    Args:
        rows: All measurements.
        titles: Of the systems.
    """

    def __init__(self, rows: Rows, titles: dict[str, str]) -> None:
        self._rows = rows
        self._titles = titles

    def all(self) -> str:
        """Each workload's under its heading."""
        makers: dict[str, Callable[[], str]] = {
            "a": self._photos,
            "b": self._null,
            "c": self._large,
            "d": self._batches,
            "e": self._accepts,
            "f": self._overload,
            "g": self._start,
            "h": self._growth,
        }
        return "\n".join(
            f"### {letter}: {what}\n\n{makers[letter]()}"
            for letter, what in WORKLOADS.items()
            if self._rows.loads(letter)
        )

    def _photos(self) -> str:
        loads = [each for each in self._rows.loads("a") if each != OPEN]
        head = ["", *(f"images/s, {each}" for each in loads), "of the limit, 16 clients"]
        bare = [_rate(self._rows.pooled("a", each, "limit"))
                for each in loads]  # fmt: skip
        lines = [[_LIMIT, *bare, "1"]]
        for system in self._rows.systems("a"):
            cells = [self._rate("a", each, system) for each in loads]
            lines.append([system, *cells, self._cell("a", "16 clients", system, "share", 3)])
        return f"{_table(head, lines, self._titles)}\n{self._latencies()}"

    def _latencies(self) -> str:
        head = ["", "p50 of 1 client, ms", "of the bare time", "open loop p50, ms", "p99, ms"]
        head += ["CPU an image at 16 clients, ms"]
        bare = _shown(self._rows.pooled("a", "1 client", "limit_p50"), 2)
        lines = [[_LIMIT, bare, "1", *[_NONE] * 3]]
        for system in self._rows.systems("a"):
            cells = [self._cell("a", "1 client", system, key, 2) for key in ("p50", "p50_share")]
            cells += [self._cell("a", OPEN, system, key, 1) for key in ("p50", "p99")]
            lines.append([system, *cells, self._cell("a", "16 clients", system, "cpu_ms", 2)])
        return _table(head, lines, self._titles)

    def _null(self) -> str:
        head = ["", "5 kB, a second", "this server is", "200 kB, a second", "this server is"]
        head += ["CPU each, 5 kB, ms", "200 kB, ms"]
        lines = []
        for system in self._rows.systems("b"):
            cells = []
            for size in ("5 kB", "200 kB"):
                cells += [self._rate("b", size, system), self._times("b", size, system, "rate")]
            cells += [self._cell("b", size, system, "cpu_ms", 2) for size in ("5 kB", "200 kB")]
            lines.append([system, *cells])
        return _table(head, lines, self._titles)

    def _large(self) -> str:
        limit = [_LIMIT, _rate(self._rows.pooled("c", "4 clients", "limit")), "1", _NONE]
        return self._against("c", "images/s", limit)

    def _batches(self) -> str:
        return self._against("d", "images/s", ["ideal schedule", _NONE, "1", _NONE])

    def _against(self, workload: str, unit: str, limit: list[str]) -> str:
        """Rates of one load, in parts of a limit, and ours in parts of each."""
        [load] = self._rows.loads(workload)
        lines = [limit]
        for system in self._rows.systems(workload):
            cells = [self._rate(workload, load, system)]
            cells += [self._cell(workload, load, system, "share", 3)]
            lines.append([system, *cells, self._times(workload, load, system, "share")])
        head = ["", f"{unit}, {load}", "of the limit", "this server is"]
        return _table(head, lines, self._titles)

    def _accepts(self) -> str:
        part = self._rows.part("e", ("accepts", OURS), ("accepts", RAW), "rate")
        p99 = self._cell("e", "accepts", OURS, "p99", 0)
        lines = [
            [RAW, self._rate("e", "accepts", RAW), _NONE, "1"],
            [OURS, self._rate("e", "accepts", OURS), p99, _shown(part, 2)],
        ]
        return _table(["", "uploads/s on disk", "p99, ms", "of raw SQLite"], lines, self._titles)

    def _overload(self) -> str:
        head = ["", "right answers/s", "of its own peak", "p50, ms", "p99, ms"]
        head += ["refused", "other errors", "never sent"]
        lines = []
        for system in self._rows.systems("f"):
            cells = [self._rate("f", OVERLOAD, system)]
            cells += [self._cell("f", OVERLOAD, system, "share", 3)]
            cells += [self._cell("f", OVERLOAD, system, key, 0) for key in _OVERLOAD]
            lines.append([system, *cells])
        return _table(head, lines, self._titles)

    def _start(self) -> str:
        head = ["", "start to first answer, s", "memory idle, MiB", "loaded, MiB", "installed, MiB"]
        keys = (("ready_seconds", 2), ("idle_mib", 0), ("loaded_mib", 0), ("disk_mib", 0))
        lines = [
            [system, *(self._cell("g", "start", system, key, digits) for key, digits in keys)]
            for system in self._rows.systems("g")
        ]
        own = [self._cell("g", "start", OURS, f"{when}_server_mib", 0) for when in _WHEN]
        told = f"This server's own process, without its workers, holds {own[0]} MiB (RSS) idle"
        return f"{_table(head, lines, self._titles)}\n{told}, {own[1]} MiB loaded.\n"

    def _growth(self) -> str:
        loads = self._rows.loads("h")
        sizes = list(dict.fromkeys(each.partition(", ")[2] for each in loads))
        calls = list(dict.fromkeys(each.partition(", ")[0] for each in loads))
        head = ["p50, ms", *(f"{int(size):,} stored" for size in sizes), "last / first"]
        lines = []
        for call in calls:
            cells = [self._cell("h", f"{call}, {size}", OURS, "p50", 3) for size in sizes]
            ends = (f"{call}, {sizes[-1]}", OURS), (f"{call}, {sizes[0]}", OURS)
            lines.append([call, *cells, _shown(self._rows.part("h", *ends, "p50"), 2)])
        return _table(head, lines, self._titles)

    def _rate(self, workload: str, load: str, system: str) -> str:
        return _rate(self._rows.spread(workload, load, system, "rate"))

    def _cell(self, workload: str, load: str, system: str, figure: str, digits: int) -> str:
        return _shown(self._rows.spread(workload, load, system, figure), digits)

    def _times(self, workload: str, load: str, system: str, figure: str) -> str:
        """How many times as fast ours is."""
        if system == OURS:
            return "1"
        found = self._rows.part(workload, (load, OURS), (load, system), figure)
        return f"{found.median:.2f}x" if found else _NONE


_OVERLOAD: Final = ("p50", "p99", "refused", "failed", "unsent")
_WHEN: Final = ("idle", "loaded")


def _table(head: Sequence[str], lines: Iterable[Sequence[str]], titles: dict[str, str]) -> str:
    shown = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, *cells in lines:
        title = titles.get(name, name)
        title = f"**{title}**" if name == OURS else title
        shown.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(shown) + "\n"


def _rate(found: Spread | None) -> str:
    return _shown(found, 0 if found and found.median >= 100 else 1)


def _shown(found: Spread | None, digits: int) -> str:
    """The median, and the least and greatest where there are more."""
    if found is None:
        return _NONE
    median, low, high = (f"{value:,.{digits}f}" for value in found)
    return median if low == high else f"{median} ({low} to {high})"
