"""A system that runs: started on a free port, waited for until it answers rightly, ended."""

import contextlib
import http.client
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from tools.bench import family
from tools.bench.environment import UnavailableError
from tools.bench.system import System
from tools.bench.upload import Upload

ROOT: Final = Path(__file__).parents[2]
READY_SECONDS: Final = 90
SETTLE_SECONDS: Final = 15
PROBES: Final = 4
QUICK_SECONDS: Final = 0.25
"""An answer that comes sooner had nothing before it."""


@dataclass(frozen=True)
class Extras:
    """What a start may have beside the usual.

    Attributes:
        arguments: More of the command line.
        variables: More of the environment.
        data: Folder of its data, kept; else a temporary one.
        ready_seconds: In which it must answer.
    """

    arguments: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    data: Path | None = None
    ready_seconds: float = READY_SECONDS


class Running:
    """A context: a system with one model, from its start to its end.

    Args:
        system: Which.
        model: Which of `models.MODELS`.
        probe: Sent until it is answered rightly.
        extras: What this start has beside the usual.
    """

    def __init__(
        self, system: System, model: str, probe: Upload, extras: Extras | None = None
    ) -> None:
        self.system = system
        self._model = model
        self._probe = probe
        self._extras = extras or Extras()
        self.ready_seconds = 0.0
        self.mark = uuid.uuid4().hex

    def __enter__(self) -> Self:
        programs = self.system.prepared().programs
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = Path(tempfile.mkdtemp(prefix="bench-"))
        data = self._extras.data or self._folder
        self._log = self._folder / "log"
        environ = self.system.environ(programs, self._model, self.port, data)
        own = {**self._extras.variables, "TMPDIR": str(self._folder), family.MARK: self.mark}
        begin = time.perf_counter()
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603 - one of our table
                [
                    *self.system.line(programs, self._model, self.port, data),
                    *self._extras.arguments,
                ],
                cwd=ROOT,
                env=environ | own,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._await()
        except BaseException:
            self._end()
            raise
        self.ready_seconds = time.perf_counter() - begin
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _await(self) -> None:
        """Ask until the answer is right.

        Raises:
            UnavailableError: It ended, or took too long, or answers wrongly.
        """
        limit = time.monotonic() + self._extras.ready_seconds
        last = "none"
        while time.monotonic() < limit:
            if self.process.poll() is not None:
                raise UnavailableError(f"it ended by itself: {self.last_words()}")
            try:
                last = self._ask()
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)
                continue
            if self._probe.answered_by(last):
                return
            time.sleep(0.02)
        seconds = f"{self._extras.ready_seconds:g} s"
        raise UnavailableError(
            f"no right answer in {seconds}, the last was {last[:200]}; {self.last_words()}"
        )

    def _ask(self) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            body = self._probe.body.read_bytes()
            connection.request("POST", self._probe.path, body, self._probe.headers)
            return connection.getresponse().read().decode(errors="replace")
        finally:
            connection.close()

    def settle(self) -> None:
        """Wait until it is done with the requests of clients that have left.

        Many systems go on with those, and the next load would wait for them.
        """
        limit = time.monotonic() + SETTLE_SECONDS
        quick = 0
        while quick < PROBES and time.monotonic() < limit:
            began = time.monotonic()
            with contextlib.suppress(OSError, http.client.HTTPException):
                self._ask()
            quick = quick + 1 if time.monotonic() - began < QUICK_SECONDS else 0

    def last_words(self) -> str:
        """The end of its log, on one line."""
        text = self._log.read_bytes()[-600:].decode(errors="replace")
        return " ".join(text.replace(str(Path.home()), "~").split())

    def _end(self) -> None:
        family.end(self.mark, self.process.pid, self.system.grace)
        self.process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def listening(port: int, seconds: float = 10) -> bool:
    """Whether somebody listens on a port, within so many seconds."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return True
    return False
