"""Containers: started as a careful person starts them, asked over HTTP, ended in every way."""

import http.client
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Self

import requests

from tests.container.engine import Engine
from tests.server_process import ROOT

IMAGE: Final = "image-model-server"
PORT: Final = 9123
START_SECONDS: Final = 60
HARDENED: Final = (
    *("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
    *("--memory=512m", "--memory-swap=512m", "--pids-limit=256"),
)
CAT: Final = (ROOT / "examples/cat.jpg").read_bytes()


class Container:
    """One container, hardened, its port published on the loopback interface.

    Args:
        engine: Runs it.
        options: More of the engine's own, and these later ones win.
        arguments: The server's.
    """

    def __init__(
        self,
        engine: Engine,
        *options: str,
        arguments: tuple[str, ...] = (),
        image: str = IMAGE,
    ) -> None:
        self.engine = engine
        published = () if "--network=host" in options else (f"--publish=127.0.0.1::{PORT}",)
        self.began = time.monotonic()
        self.id = engine("run", "--detach", *HARDENED, *published, *options, image, *arguments)
        self.url = f"http://{engine('port', self.id, f'{PORT}/tcp')}" if published else ""

    def found(self) -> Self:
        """This container on the host's network, once it says where it listens."""
        while not (line := re.search(r"address +(http://\S+)", self.log)):
            assert self._in_time(), self.log
            time.sleep(0.01)
        self.url = line[1]
        return self

    def ready(self) -> Self:
        """This container, once its server is ready; fails if it ends before."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        while _status(host, int(port)) != 200:
            assert self._in_time(), self.log
            time.sleep(0.01)
        self.ready_after = time.monotonic() - self.began
        return self

    @property
    def running(self) -> bool:
        return self._state("Running") == "true"

    @property
    def exit_code(self) -> int:
        return int(self._state("ExitCode"))

    @property
    def log(self) -> str:
        done = self.engine.attempt("logs", self.id)
        return done.stdout + done.stderr

    def run(self, *command: str) -> str:
        """What a command in the container prints; it must succeed."""
        return self.engine("exec", self.id, *command)

    def python(self, code: str) -> str:
        return self.run("python", "-c", code)

    def refuses(self, *command: str) -> str:
        """Why a command in the container fails."""
        done = self.engine.attempt("exec", self.id, *command)
        assert done.returncode, f"{command} succeeded"
        return done.stderr + done.stdout

    def kill(self) -> None:
        self.engine("kill", "--signal=KILL", self.id)
        self.engine("wait", self.id)

    def stop(self) -> int:
        """SIGTERM, as a platform sends it; the exit code."""
        self.engine("stop", "--time=30", self.id)
        return self.exit_code

    def remove(self) -> None:
        self.engine.attempt("rm", "--force", "--volumes", self.id)

    def predict(self, image: bytes = CAT, call: str = "predict") -> requests.Response:
        return requests.post(
            f"{self.url}/{call}", image, headers={"Content-Type": "image/jpeg"}, timeout=60
        )

    def get(self, path: str) -> Any:  # Any: what JSON holds
        reply = requests.get(f"{self.url}/{path}", timeout=60)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def processes(self) -> dict[int, tuple[str, str, int]]:
        """By its id, each process's name, state and parent, as the container sees them."""
        code = "import glob; [print(open(each).read()) for each in glob.glob('/proc/[0-9]*/stat')]"
        found = re.findall(r"^(\d+) \((.*)\) (\w) (\d+)", self.python(code), re.MULTILINE)
        return {int(pid): (name, state, int(parent)) for pid, name, state, parent in found}

    def _in_time(self) -> bool:
        return self.running and time.monotonic() < self.began + START_SECONDS

    def _state(self, field: str) -> str:
        return self.engine("inspect", f"--format={{{{.State.{field}}}}}", self.id)


@contextmanager
def volume(engine: Engine) -> Iterator[str]:
    """An option that gives a container a new volume for its data."""
    name = engine("volume", "create")
    yield f"--volume={name}:/data"
    engine("volume", "rm", "--force", name)


def size(engine: Engine, image: str) -> int:
    """The bytes of an image's layers."""
    return int(engine("image", "inspect", "--format={{.Size}}", image))


def _status(host: str, port: int) -> int | None:
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()
