"""The rounds: every system in turn, with each model, and what each load of it came to."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from tools.bench import family, limit, load
from tools.bench.environment import Environment, UnavailableError
from tools.bench.limit import Limit
from tools.bench.load import Found, Pace
from tools.bench.models import Accelerator, rate
from tools.bench.names import BATCHES, OPEN, OURS, OVERLOAD, WORKERS
from tools.bench.photos import Bodies
from tools.bench.plan import Plan
from tools.bench.row import Row
from tools.bench.running import Running
from tools.bench.system import System
from tools.bench.upload import Upload

NULL_CLIENTS: Final = 16
LARGE_CLIENTS: Final = 4
BATCH_CLIENTS: Final = 64
COMPARED: Final = (1, WORKERS, 16)
"""Clients, or processes, that the physical limit is measured beside."""

QUEUE: Final = 256
"""What may wait in this server, by default."""


class Rounds:
    """Measures systems side by side.

    Args:
        plan: How much.
        wanted: Letters of the workloads.
        bodies: What is sent.
        home: Where k6 is.
        told: Gets each row as it is made.
    """

    def __init__(
        self,
        plan: Plan,
        wanted: str,
        bodies: Bodies,
        home: Environment,
        told: Callable[[Row], None],
    ) -> None:
        self._plan = plan
        self._wanted = set(wanted)
        self._bodies = bodies
        self._home = home
        self._told = told
        self._round = 0

    def run(self, systems: Sequence[System]) -> dict[str, str]:
        """All rounds; the systems that could not be measured, and why."""
        missing: dict[str, str] = {}
        began = last = time.monotonic()
        for number in range(self._plan.rounds):
            now = time.monotonic()
            if now + (now - last) > began + self._plan.minutes * 60:
                print(f"no time is left for more than {number} rounds", flush=True)
                break
            last = now
            self._round = number
            for system in systems:
                if system.name not in missing and (why := self._visited(system)):
                    missing[system.name] = why
                    print(f"{system.title} is left out: {why}", flush=True)
        return missing

    def told(self) -> str:
        """How many rounds there were, of what length."""
        return f"{self._round + 1}, of {self._plan.seconds:g} s a load"

    def _visited(self, system: System) -> str | None:
        """Measure a system with each model; why it can't be."""
        try:
            self._visit(system)
        except (UnavailableError, OSError) as error:
            return str(error)
        return None

    def _visit(self, system: System) -> None:
        if self._wanted & set("acg"):
            self._photos(system)
        if "b" in self._wanted:
            self._null(system)
        if self._wanted & set("df"):  # f is told in parts of d
            self._batches(system)

    def _photos(self, system: System) -> None:
        small = self._bodies.uploads("small", system.kserve)
        with Running(system, "Photo", small[0]) as running:
            memory = {"ready_seconds": running.ready_seconds, **_memory(running, "idle")}
            self._warm(running, small)
            if "a" in self._wanted:
                for clients in self._plan.clients:
                    bare = self._limit("small", clients)
                    self._closed("a", running, small, clients, bare)
                self._open(running, small)
            if "c" in self._wanted:
                large = self._bodies.uploads("large", system.kserve)
                self._closed("c", running, large, LARGE_CLIENTS, self._limit("large", WORKERS))
            if "g" in self._wanted:
                memory |= _memory(running, "loaded")
                memory["disk_mib"] = system.prepared().mib
                self._tell("g", "start", system.name, memory)

    def _limit(self, kind: str, clients: int) -> Limit | None:
        """What the machine does right now with no server: it may change from minute to minute.

        None for numbers of clients that are not compared with it.
        """
        if clients not in COMPARED:
            return None
        files = self._bodies.files[kind]
        return limit.measure(files, min(clients, WORKERS), self._plan.seconds / 2)

    def _null(self, system: System) -> None:
        first = self._bodies.uploads("5 kB", system.kserve)
        with Running(system, "Null", first[0]) as running:
            self._warm(running, first)
            for size in ("5 kB", "200 kB"):
                uploads = self._bodies.uploads(size, system.kserve)
                found, figures = self._asked(running, uploads, NULL_CLIENTS, self._plan.seconds)
                self._tell("b", size, system.name, figures, found.fault)

    def _batches(self, system: System) -> None:
        uploads = self._bodies.uploads("5 kB", system.kserve)
        with Running(system, "Accelerator", uploads[0]) as running:
            self._warm(running, uploads, BATCH_CLIENTS)
            seconds = self._plan.batch_seconds
            found, figures = self._asked(running, uploads, BATCH_CLIENTS, seconds)
            share = found.rate / rate(WORKERS)
            self._tell("d", BATCHES, system.name, figures | {"share": share}, found.fault)
            if "f" in self._wanted:
                self._overload(running, uploads, found.rate)

    def _overload(self, running: Running, uploads: Sequence[Upload], peak: float) -> None:
        """More than can be done; in parts of the peak, and of how long what may wait takes."""
        due = self._plan.overload * rate(WORKERS)
        pace = Pace(due, self._plan.overload_seconds, self._plan.waiting)
        found = load.opened(running.url, uploads, pace, self._home)
        figures = _figures(found) | {"share": found.rate / peak if peak else 0.0}
        if running.system.name == OURS:
            due = (QUEUE + WORKERS * Accelerator.BATCH) / max(1.0, found.rate)
            figures["p99_share"] = found.p99 / 1000 / due
        self._tell("f", OVERLOAD, running.system.name, figures, found.fault)

    def _warm(self, running: Running, uploads: Sequence[Upload], clients: int = 16) -> None:
        load.closed(running.url, uploads, clients, self._plan.warm_seconds)
        running.settle()

    def _closed(
        self,
        workload: str,
        running: Running,
        uploads: Sequence[Upload],
        clients: int,
        bare: Limit | None = None,
    ) -> None:
        found, figures = self._asked(running, uploads, clients, self._plan.seconds)
        if bare and clients == 1:
            figures |= {"limit_p50": bare.p50, "p50_share": found.p50 / bare.p50}
        elif bare:
            figures |= {"limit": bare.rate, "share": found.rate / bare.rate}
        name = "1 client" if clients == 1 else f"{clients} clients"
        self._tell(workload, name, running.system.name, figures, found.fault)

    def _asked(
        self, running: Running, uploads: Sequence[Upload], clients: int, seconds: float
    ) -> tuple[Found, dict[str, float]]:
        """A closed loop, and its figures with the processor time of each answer."""
        before = family.cpu_seconds(running.mark)
        found = load.closed(running.url, uploads, clients, seconds)
        spent = family.cpu_seconds(running.mark) - before
        running.settle()
        return found, _figures(found) | {"cpu_ms": spent / max(1, found.right) * 1000}

    def _open(self, running: Running, uploads: Sequence[Upload]) -> None:
        """Latency at a rate that the machine can do."""
        bare = limit.measure(self._bodies.files["small"], WORKERS, self._plan.seconds / 2)
        due = self._plan.open_share * bare.rate
        pace = Pace(due, self._plan.seconds, self._plan.waiting // 4)
        found = load.opened(running.url, uploads, pace, self._home)
        self._tell("a", OPEN, running.system.name, _figures(found), found.fault)

    def _tell(
        self,
        workload: str,
        name: str,
        system: str,
        figures: dict[str, float],
        fault: str | None = None,
    ) -> None:
        self._told(Row(workload, name, system, self._round, figures, fault))


def _figures(found: Found) -> dict[str, float]:
    return {
        "rate": found.rate,
        "p50": found.p50,
        "p90": found.p90,
        "p99": found.p99,
        "refused": found.refused,
        "failed": found.failed,
        "unsent": found.unsent,
        "generator": found.generator,
    }


def _memory(running: Running, when: str) -> dict[str, float]:
    """Of all processes; of ours also that of the server without its workers."""
    found = {f"{when}_mib": family.memory_mib(running.mark)}
    if running.system.name == OURS:
        found[f"{when}_server_mib"] = family.resident_mib(running.process.pid)
    return found
