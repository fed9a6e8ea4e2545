"""The plots: what a person sees at a glance.

`python -m tools.bench.plots RESULTS.json FOLDER` runs where matplotlib is installed.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

from matplotlib import pyplot as plt

from tools.bench.models import rate
from tools.bench.names import BATCHES, OPEN, OURS, OVERLOAD, WORKERS
from tools.bench.row import Row, Rows, Spread

COLOURS: Final = {OURS: "#0b6e4f"}
LIMIT: Final = "#444444"
OTHERS: Final = "#b8c4ce"
LINES: Final = ("#5b8def", "#e07a5f", "#8d6cab", "#c9a227", "#4aa3a2", "#999999")


class Bars(NamedTuple):
    """Which figure of all systems is drawn as bars."""

    workload: str
    load: str
    title: str
    figure: str = "rate"


class Plots:
    """Draws them.

    Args:
        rows: All measurements.
        titles: Of the systems.
    """

    def __init__(self, rows: Rows, titles: dict[str, str]) -> None:
        self._rows = rows
        self._titles = titles
        plt.rcParams.update(
            {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False,
             "axes.titleweight": "bold", "axes.titlelocation": "left", "figure.dpi": 120}
        )  # fmt: skip

    def throughput(self, path: Path) -> None:
        """The README's: images a second of each at 16 clients, and the limit."""
        figure, axes = plt.subplots(figsize=(8, 0.45 * len(self._systems("a")) + 1.5))
        bars = Bars("a", "16 clients", "Images a second, 16 clients: the longer the better")
        self._bars(axes, bars, self._limit("a", "16 clients"))
        self._save(figure, path)

    def overview(self, path: Path) -> None:
        """All workloads that were measured, a panel each."""
        panels = [
            (letter, draw)
            for letter, draw in (
                ("a", self._clients), ("a", self._latency), ("b", self._small),
                ("b", self._big), ("c", self._photos), ("d", self._batches),
                ("f", self._overload), ("g", self._memory), ("h", self._growth),
            )
            if self._rows.loads(letter)
        ]  # fmt: skip
        if not panels:
            return
        height = -(-len(panels) // 3)
        figure, grid = plt.subplots(height, 3, figsize=(15, 3.6 * height), squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.axis("off")
        for axes, (_, draw) in zip(grid.flat, panels, strict=False):
            draw(axes)
        self._save(figure, path)

    def _clients(self, axes: Any) -> None:
        loads = [each for each in self._rows.loads("a") if each != OPEN]
        counts = [int(each.split()[0]) for each in loads]
        colours = iter(LINES)
        for system in self._systems("a"):
            found = [self._rows.spread("a", each, system, "rate") for each in loads]
            heights = [each.median if each else None for each in found]
            colour = COLOURS.get(system) or next(colours)
            width = 2.5 if system == OURS else 1.3
            axes.plot(
                counts, heights, marker="o", ms=4, label=self._titles[system], color=colour,
                lw=width, zorder=width,
            )  # fmt: skip
        if limit := self._limit("a", "16 clients"):
            axes.axhline(limit, color=LIMIT, ls="--", lw=1, label="physical limit")
        axes.set_xscale("log", base=2)
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.set_ylim(bottom=0)
        axes.set_xlabel("clients")
        axes.set_title("a: images a second")
        axes.legend(fontsize=7, frameon=False)

    def _latency(self, axes: Any) -> None:
        self._bars(axes, Bars("a", OPEN, "a: p99 at 60 % of the limit, ms", "p99"))

    def _small(self, axes: Any) -> None:
        self._bars(axes, Bars("b", "5 kB", "b: requests a second, 5 kB"))

    def _big(self, axes: Any) -> None:
        self._bars(axes, Bars("b", "200 kB", "b: requests a second, 200 kB"))

    def _photos(self, axes: Any) -> None:
        bars = Bars("c", "4 clients", "c: 12-megapixel photos a second")
        self._bars(axes, bars, self._limit("c", "4 clients"))

    def _batches(self, axes: Any) -> None:
        bars = Bars("d", BATCHES, "d: batches, images a second")
        self._bars(axes, bars, rate(WORKERS))

    def _overload(self, axes: Any) -> None:
        self._bars(axes, Bars("f", OVERLOAD, "f: p99 of right answers at 3x, ms", "p99"))

    def _memory(self, axes: Any) -> None:
        self._bars(axes, Bars("g", "start", "g: memory of all processes, MiB", "loaded_mib"))

    def _limit(self, workload: str, load: str) -> float | None:
        found = self._rows.pooled(workload, load, "limit")
        return found.median if found else None

    def _growth(self, axes: Any) -> None:
        loads = self._rows.loads("h")
        colours = iter(LINES)
        for call in dict.fromkeys(each.partition(", ")[0] for each in loads):
            names = [each for each in loads if each.startswith(f"{call},")]
            found = [self._rows.spread("h", each, OURS, "p50") for each in names]
            labels = [f"{int(each.partition(', ')[2]):,}" for each in names]
            heights = [each.median if each else 0 for each in found]
            axes.plot(labels, heights, marker="o", label=call, color=next(colours))
        axes.set_ylim(bottom=0)
        axes.set_title("h: p50 in ms beside stored results")
        axes.legend(fontsize=7, frameon=False)

    def _bars(self, axes: Any, bars: Bars, limit: float | None = None) -> None:
        """One bar a system, with its spread; the limit is a line."""
        found: list[tuple[str, Spread]] = [
            (system, spread)
            for system in reversed(self._systems(bars.workload))
            if (spread := self._rows.spread(bars.workload, bars.load, system, bars.figure))
        ]
        for place, (system, spread) in enumerate(found):
            axes.barh(place, spread.median, color=COLOURS.get(system, OTHERS), height=0.65)
            axes.plot([spread.low, spread.high], [place, place], color="black", lw=1)
            digits = 0 if spread.median >= 100 else 1
            axes.annotate(
                f"{spread.median:,.{digits}f}", (spread.high, place), (5, 0),
                textcoords="offset points", va="center", fontsize=8,
                weight="bold" if system == OURS else "normal",
            )  # fmt: skip
        axes.set_yticks(range(len(found)), [self._titles[system] for system, _ in found])
        if limit:
            axes.axvline(limit, color=LIMIT, ls="--", lw=1)
            axes.text(
                limit, 1.01, f"limit {limit:,.0f}",
                transform=axes.get_xaxis_transform(), fontsize=8, ha="center",
            )  # fmt: skip
        axes.margins(x=0.12)
        axes.set_xlim(left=0)
        axes.set_title(bars.title, pad=14)

    def _systems(self, workload: str) -> list[str]:
        return [name for name in self._rows.systems(workload) if name in self._titles]

    def _save(self, figure: Any, path: Path) -> None:
        figure.tight_layout()
        figure.savefig(path)
        plt.close(figure)


def main(results: Path, folder: Path) -> None:
    """Draw all."""
    run = json.loads(results.read_text())
    rows = Rows(Row(**each) for each in run["rows"])
    plots = Plots(rows, run["titles"])
    if rows.loads("a"):
        plots.throughput(folder / "throughput.png")
    plots.overview(folder / "overview.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
