"""Workload e: uploads that /asyncPredict accepts a second, beside raw SQLite with those bytes."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tools.bench import commits, load
from tools.bench.names import OURS, RAW
from tools.bench.photos import Bodies
from tools.bench.plan import Plan
from tools.bench.row import Row
from tools.bench.running import Extras, Running
from tools.bench.system import SYSTEMS

CLIENTS: Final = 64


def measure(plan: Plan, bodies: Bodies, told: Callable[[Row], None]) -> None:
    """Both in turn, round by round; the model takes a second for a batch, so it takes no part."""
    uploads = [each.to("/asyncPredict") for each in bodies.uploads("small", kserve=False)]
    probe = bodies.uploads("5 kB", kserve=False)[0]
    slow = Extras(variables={"BENCH_FIXED_SECONDS": "1"})
    for number in range(plan.rounds):
        with Running(SYSTEMS[0], "Accelerator", probe, slow) as it:
            found = load.closed(it.url, uploads, CLIENTS, plan.seconds)
        figures = {"rate": found.rate, "p50": found.p50, "p99": found.p99}
        told(Row("e", "accepts", OURS, number, figures, found.fault))
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            file = bodies.files["small"][0]
            rate = commits.measure(Path(folder), file, plan.seconds, CLIENTS)
        told(Row("e", "accepts", RAW, number, {"rate": rate}))
