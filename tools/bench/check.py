"""The check of the load generators: how fast they are against a server that does nothing."""

import subprocess
import sys
from typing import Final

from tools.bench import load
from tools.bench.environment import Environment, UnavailableError
from tools.bench.load import Pace
from tools.bench.photos import Bodies
from tools.bench.running import ROOT, free_port, listening

SECONDS: Final = 2
CLIENTS: Final = 16
OPEN_RATE: Final = 1000


def check_generators(bodies: Bodies, home: Environment) -> dict[str, float]:
    """Requests a second that wrk sends of each body, and that k6 keeps up of a thousand.

    Raises:
        UnavailableError: A generator is not to be had.
    """
    port = free_port()
    found = {}
    command = [sys.executable, "-m", "tools.bench.sink", str(port)]
    with subprocess.Popen(command, cwd=ROOT) as sink:  # noqa: S603 - our own module
        try:
            if not listening(port):
                raise UnavailableError("the sink of the load generators' check did not start")
            url = f"http://127.0.0.1:{port}"
            for kind in ("small", "large", "5 kB", "200 kB"):
                uploads = [each.to("/") for each in bodies.uploads(kind, kserve=False)]
                found[f"wrk, {kind}"] = load.closed(url, uploads, CLIENTS, SECONDS).rate
            small = bodies.uploads("200 kB", kserve=False)
            opened = load.opened(url, small, Pace(OPEN_RATE, SECONDS, CLIENTS * 4), home)
            found[f"k6, 200 kB, of {OPEN_RATE}"] = opened.rate
        finally:
            sink.kill()
    return found
