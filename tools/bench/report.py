"""The report: what was found, as Markdown, JSON and plots; and all of it in the documents."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.bench import targets
from tools.bench.environment import Environment, UnavailableError
from tools.bench.names import OPEN, OURS, OVERLOAD
from tools.bench.row import Row, Rows
from tools.bench.system import PEERS, System
from tools.bench.tables import Tables

_ROOT: Final = Path(__file__).parents[2]
DOCUMENT: Final = _ROOT / "docs/benchmarks.md"
_OPEN: Final = {OPEN, OVERLOAD}
PLOTS: Final = {
    "throughput.png": "Images a second of each system, beside the physical limit",
    "overview.png": "All workloads",
}
_BEGIN, _END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"


@dataclass(frozen=True)
class Run:
    """A run of the benchmark.

    Attributes:
        facts: What it ran on.
        generators: How fast the load generators are at most, a second.
        titles: Of the systems.
        versions: Of the systems.
        missing: Systems that could not be measured, and why.
        rows: The measurements.
        minutes: How long it took.
    """

    facts: dict[str, str]
    generators: dict[str, float]
    titles: dict[str, str]
    versions: dict[str, str]
    missing: dict[str, str]
    rows: list[Row]
    minutes: float


def version(system: System) -> str:
    """The package that its requirements pin first."""
    if system.name == OURS:
        return "this commit"
    lines = (PEERS / system.name / "requirements.txt").read_text().splitlines()
    return next(line for line in lines if "==" in line).replace("==", " ")


def write(run: Run, folder: Path, home: Environment) -> None:
    """Put `results.json`, `report.md` and the plots into a folder."""
    results = folder / "results.json"
    results.write_text(json.dumps(_plain(run), indent=1) + "\n")
    (folder / "report.md").write_text(markdown(run))
    for name in PLOTS:
        (folder / name).unlink(missing_ok=True)
    done = subprocess.run(  # noqa: S603 - our own module, where matplotlib is
        [str(home.programs / "python"), "-m", "tools.bench.plots", str(results), str(folder)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UnavailableError(f"the plots failed: {done.stderr.strip().splitlines()[-1]}")


def publish(run: Run, folder: Path) -> None:
    """Put the tables and plots into the documents."""
    text = DOCUMENT.read_text()
    shown = "\n\n".join(
        f"![{what}](benchmarks/{name})" for name, what in PLOTS.items() if (folder / name).exists()
    )
    measured = f"{_BEGIN}\n{shown}\n\n{markdown(run)}\n{_END}"
    pattern = re.escape(_BEGIN) + ".*" + re.escape(_END)
    DOCUMENT.write_text(re.sub(pattern, lambda _: measured, text, flags=re.DOTALL))
    plots = DOCUMENT.with_suffix("")
    plots.mkdir(exist_ok=True)
    for name in PLOTS:
        if (folder / name).exists():
            (plots / name).write_bytes((folder / name).read_bytes())


def markdown(run: Run) -> str:
    """All tables."""
    rows = Rows(run.rows)
    lines = [f"- {key}: {value}" for key, value in run.facts.items()]
    lines += [f"- Took: {run.minutes:.0f} minutes"]
    lines += [f"- {run.titles[name]}: {what}" for name, what in run.versions.items()]
    lines += [
        f"- {run.titles.get(name, name)} is left out: {why}" for name, why in run.missing.items()
    ]
    lines += [
        f"- {run.titles[name]} is disqualified in {fault}"
        for name in run.titles
        for fault in rows.faults(name)
    ]
    fast = ", ".join(f"{what}: {rate:,.0f}" for what, rate in run.generators.items())
    lines += [f"- The load generators against a server that does nothing, a second: {fast}"]
    lines += [
        f"- The most of a core that {name} took: {row.figures['generator']:.2f}, in {row.workload}"
        f" ({row.load}) of {run.titles[row.system]}"
        for name, loads in (("k6", _OPEN), ("wrk", {row.load for row in run.rows} - _OPEN))
        if (row := rows.greatest("generator", loads))
    ]
    tables = Tables(rows, run.titles).all()
    return "\n".join(lines) + f"\n\n### Targets\n\n{targets.table(rows, run.titles)}\n{tables}"


def _plain(run: Run) -> dict[str, object]:
    return {**vars(run), "rows": [row._asdict() for row in run.rows]}
