"""The systems that are compared: how each is started, and what it is called."""

import os
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.bench.environment import Environment, environment
from tools.bench.models import Accelerator
from tools.bench.names import OURS, WORKERS

LARGEST_BODY: Final = 2**25
PEERS: Final = Path(__file__).parent / "peers"


@dataclass(frozen=True)
class System:
    """One of the compared systems.

    Attributes:
        name: Its folder in `peers/`, or `server`.
        title: For people.
        command: Its arguments after the program's name; `{port}` and `{data}` are filled in.
        program: Which program of its environment runs.
        variables: Added to the environment, filled in likewise.
        grace: Seconds in which it ends when told to.
        kserve: It takes KServe's binary tensors, no forms.
    """

    name: str
    title: str
    command: tuple[str, ...]
    program: str = "python"
    variables: tuple[tuple[str, str], ...] = ()
    grace: float = 10
    kserve: bool = False

    def prepared(self) -> Environment:
        """Its environment.

        Raises:
            UnavailableError: It can't be installed here.
        """
        if self.name == OURS:
            return Environment(Path(sys.executable).parents[1])
        return environment(self.name, PEERS / self.name / "requirements.txt")

    def line(self, programs: Path, model: str, port: int, data: Path) -> list[str]:
        """The command line."""
        words = [word.format(port=port, data=data, model=model) for word in self.command]
        batch = ["--max-batch-size", str(Accelerator.BATCH)] if model == "Accelerator" else []
        return [str(programs / self.program), *words, *(batch if self.name == OURS else [])]

    def environ(self, programs: Path, model: str, port: int, data: Path) -> dict[str, str]:
        """The environment variables."""
        own = {key: value.format(port=port, data=data) for key, value in self.variables}
        path = f"{programs}{os.pathsep}{os.environ.get('PATH', '')}"
        bench = {"BENCH_MODEL": model, "BENCH_PORT": str(port), "BENCH_WORKERS": str(WORKERS)}
        return {**os.environ, **bench, **own, "PATH": path}


SYSTEMS: Final = (
    System(
        OURS,
        "this server",
        (
            *("-m", "server", "--host", "127.0.0.1", "--port", "{port}", "--data-dir", "{data}"),
            *("--workers", str(WORKERS), "--model", "tools/bench/models.py:{model}"),
        ),
    ),
    System(
        "fastapi",
        "FastAPI design",
        (
            *("-m", "uvicorn", "tools.bench.peers.fastapi.serve:app", "--port", "{port}"),
            *("--workers", str(WORKERS), "--no-access-log", "--log-level", "warning"),
        ),
    ),
    System("litserve", "LitServe", ("-m", "tools.bench.peers.litserve.serve"), grace=2),
    System(
        "bentoml",
        "BentoML",
        (
            *("serve", "tools.bench.peers.bentoml.serve:Service"),
            *("--host", "127.0.0.1", "--port", "{port}"),
        ),
        program="bentoml",
        variables=(("BENTOML_DO_NOT_TRACK", "true"), ("BENTOML_HOME", "{data}")),
    ),
    System(
        "mosec",
        "Mosec",
        (
            *("-m", "tools.bench.peers.mosec.serve", "--address", "127.0.0.1"),
            *("--port", "{port}", "--timeout", "60000", "--max-request-size", str(LARGEST_BODY)),
            *("--log-level", "warning"),
        ),
    ),
    System(
        "ray",
        "Ray Serve",
        ("-m", "tools.bench.peers.ray.serve"),
        variables=(
            ("RAY_USAGE_STATS_ENABLED", "0"),
            ("RAY_SERVE_THROUGHPUT_OPTIMIZED", "1"),
            ("RAY_SERVE_ENABLE_HA_PROXY", "1"),
            ("RAY_SERVE_HAPROXY_CONFIG_FILE_LOC", "{data}/haproxy.cfg"),
            ("RAY_SERVE_HAPROXY_SOCKET_PATH", "{data}/haproxy.sock"),
            ("RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH", "{data}/metrics.sock"),
            ("RAY_SERVE_HAPROXY_SERVER_STATE_BASE", "{data}"),
            ("RAY_SERVE_HAPROXY_SERVER_STATE_FILE", "{data}/server-state"),
            ("RAY_TMPDIR", "{data}"),
        ),
    ),
    System(
        "triton",
        "Triton (PyTriton)",
        ("-m", "tools.bench.peers.triton.serve"),
        variables=(
            ("PYTRITON_HOME", "{data}"),
            ("PYTRITON_NO_TELEMETRY", "1"),
            # its backend must find this Python's own library, not another of the same number
            ("LD_LIBRARY_PATH", str(sysconfig.get_config_var("LIBDIR"))),
        ),
        kserve=True,
    ),
)
