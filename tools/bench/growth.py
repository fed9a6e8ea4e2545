"""Workload h: predict, get and list beside nothing, ten thousand and a million stored results."""

import contextlib
import json
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tools.bench import load
from tools.bench.load import Found
from tools.bench.names import OURS
from tools.bench.photos import Bodies
from tools.bench.plan import Plan
from tools.bench.row import Row
from tools.bench.running import Extras, Running
from tools.bench.system import SYSTEMS
from tools.million_backup import Folder, write_backup

PAGE: Final = "/predictResults?limit=100"
READY_SECONDS: Final = 400


def measure(plan: Plan, bodies: Bodies, told: Callable[[Row], None]) -> None:
    """One server for each size, all running; they are asked in turn, by one client."""
    uploads = bodies.uploads("5 kB", kserve=False)
    with contextlib.ExitStack() as stack:
        servers = {}
        for size in plan.stored:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            servers[size] = stack.enter_context(_filled(size, folder, bodies))
            load.closed(servers[size].url, uploads, 1, plan.warm_seconds)
        for number in range(plan.rounds):
            for name, ask in CALLS.items():
                for size, server in servers.items():
                    found = ask(server, bodies, plan.seconds)
                    told(Row("h", f"{name}, {size}", OURS, number, {"p50": found.p50}, found.fault))


def _filled(size: int, folder: Path, bodies: Bodies) -> Running:
    """A server that starts from a backup of so many results."""
    place = Folder(folder / "remote")
    with tempfile.TemporaryFile(dir=folder) as lines:
        write_backup(place, size, lines)
    probe = bodies.uploads("5 kB", kserve=False)[0]
    extras = Extras(
        arguments=("--remote", place.url, "--import-on-start", "always"),
        data=folder / "data",
        ready_seconds=READY_SECONDS,
    )
    return Running(SYSTEMS[0], "Null", probe, extras)


def _predict(server: Running, bodies: Bodies, seconds: float) -> Found:
    return load.closed(server.url, bodies.uploads("5 kB", kserve=False), 1, seconds)


def _get(server: Running, bodies: Bodies, seconds: float) -> Found:  # noqa: ARG001 - as the others
    with urllib.request.urlopen(server.url + PAGE) as reply:  # noqa: S310 - our own server # nosec B310
        ids = [each["request_id"] for each in json.load(reply)]
    return load.fetch(server.url, [f"/predictResults/{each}" for each in ids], 1, seconds)


def _list(server: Running, bodies: Bodies, seconds: float) -> Found:  # noqa: ARG001 - as the others
    return load.fetch(server.url, [PAGE], 1, seconds)


CALLS: Final = {"predict": _predict, "get": _get, "list": _list}
