"""`python -m tools.bench`: prepares, measures, and writes what was found."""

import argparse
import json
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from tools.bench import durable, growth, machine, report
from tools.bench.arguments import PEERS, SLOW_TO_START, parser
from tools.bench.check import check_generators
from tools.bench.environment import Environment, UnavailableError, environment
from tools.bench.names import OURS
from tools.bench.photos import Bodies
from tools.bench.plan import FULL, QUICK, Plan
from tools.bench.rounds import Rounds
from tools.bench.row import Row
from tools.bench.system import SYSTEMS, System

REQUIREMENTS: Final = Path(__file__).with_name("requirements.txt")


class Log:
    """The rows so far: told to a person, and on disk, so that a run that is stopped isn't lost.

    Args:
        file: Gets a line of JSON for each.
    """

    def __init__(self, file: Path) -> None:
        self.rows: list[Row] = []
        self._file = file.open("w")
        self._began = time.monotonic()

    def add(self, row: Row) -> None:
        """One more."""
        self.rows.append(row)
        self._file.write(json.dumps(row._asdict()) + "\n")
        self._file.flush()
        shown = ", ".join(f"{key} {value:.4g}" for key, value in row.figures.items() if value)
        at = time.monotonic() - self._began
        place = f"{row.round + 1} {row.workload} {row.system}"
        print(f"{at:5.0f} s  {place}, {row.load}: {row.fault or shown}", flush=True)


def chosen(given: argparse.Namespace) -> list[System]:
    """This server and the peers that were asked for."""
    usual = [name for name in PEERS if not (given.quick and name in SLOW_TO_START)]
    names = {OURS, *(usual if given.peers is None else given.peers)}
    return [system for system in SYSTEMS if system.name in names]


def prepare(systems: list[System]) -> tuple[list[System], dict[str, str]]:
    """The systems that are installed here now, and why the others are not."""
    ready, missing = [], {}
    for system in systems:
        try:
            system.prepared()
            ready.append(system)
        except UnavailableError as error:
            missing[system.name] = str(error)
            print(f"{system.title} is left out: {error}", flush=True)
    return ready, missing


def measure(given: argparse.Namespace, plan: Plan, home: Environment, log: Log) -> report.Run:
    """Everything that was asked for."""
    began = time.monotonic()
    systems, missing = prepare(chosen(given))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bodies = Bodies(Path(folder))
        generators = check_generators(bodies, home)
        rounds = Rounds(plan, given.workloads, bodies, home, log.add)
        missing |= rounds.run(systems)
        for letter, alone in (("e", durable.measure), ("h", growth.measure)):
            try:
                if letter in given.workloads:
                    alone(plan, bodies, log.add)
            except UnavailableError as error:
                missing[f"workload {letter}"] = str(error)
                print(f"workload {letter} is left out: {error}", flush=True)
    return report.Run(
        facts=machine.facts() | {"Rounds": rounds.told()},
        generators=generators,
        titles={system.name: system.title for system in SYSTEMS},
        versions={system.name: report.version(system) for system in systems},
        missing=missing,
        rows=log.rows,
        minutes=(time.monotonic() - began) / 60,
    )


def main() -> int:
    """Run the command line; the exit code."""
    given = parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started ends too
    plan = QUICK if given.quick else FULL
    if given.rounds:
        plan = replace(plan, rounds=given.rounds)
    given.output.mkdir(parents=True, exist_ok=True)
    try:
        home = environment("harness", REQUIREMENTS)
        found = measure(given, plan, home, Log(given.output / "rows.ndjson"))
    except UnavailableError as error:
        print(error, file=sys.stderr)
        return 1
    report.write(found, given.output, home)
    if given.publish:
        report.publish(found, given.output)
    print(f"{found.minutes:.1f} minutes; see {given.output / 'report.md'} and the plots beside it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
