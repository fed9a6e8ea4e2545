"""A real server, started as a user starts it, for tests that speak HTTP to it."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
START_SECONDS = 60


class ServerProcess:
    """`python -m server` on a free port of the loopback interface."""

    def __init__(self, data_dir: Path, *arguments: str, **environment: str) -> None:
        command = [sys.executable, "-m", "server", "--host", "127.0.0.1", "--port", "0"]
        self.data_dir = data_dir
        self.lines: list[str] = []
        self.url = ""
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            [*command, "--data-dir", str(data_dir), *arguments],
            cwd=ROOT,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for_line(self, pattern: str) -> re.Match[str]:
        """The first log line that matches; fails if the server ends before it comes."""
        with self._news:
            found = self._news.wait_for(lambda: self._find(pattern) or self._ended, START_SECONDS)
        assert isinstance(found, re.Match), f"no line like {pattern!r} in:\n{self.log}"
        return found

    def ready(self) -> "ServerProcess":
        """This server, once it is ready."""
        self.url = self.wait_for_line(r"address\s+(https?://[\w.:]+)").group(1)
        self.wait_for_line(r"\bready\b")
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal the server and wait for its end; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for the server's end; its exit code."""
        code = self.process.wait(START_SECONDS)
        self._reader.join(START_SECONDS)
        return code

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    def children(self) -> list[int]:
        """Process ids of the server's workers."""
        task = Path(f"/proc/{self.process.pid}/task")
        found = [thread / "children" for thread in task.iterdir()]
        return [int(pid) for file in found for pid in file.read_text().split()]

    def resident(self) -> int:
        """Bytes of memory that the server itself holds, without its workers."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        kilobytes = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert kilobytes
        return int(kilobytes[1]) * 1024

    _ended = False

    def _find(self, pattern: str) -> re.Match[str] | None:
        matches = (re.search(pattern, line) for line in self.lines)
        return next((match for match in matches if match), None)

    def _read(self) -> None:
        assert self.process.stderr
        with self.process.stderr as stderr:
            for line in stderr:
                with self._news:
                    self.lines.append(line.rstrip())
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


@contextmanager
def ready_server(data_dir: Path, *arguments: str, **environment: str) -> Iterator[ServerProcess]:
    """A server that is ready; when told to stop, it must end with code 0."""
    server = ServerProcess(data_dir, *arguments, **environment)
    try:
        yield server.ready()
        assert server.stop() == 0, server.log
    finally:
        server.process.kill()
        server.wait()
