"""A server under load: started by its command line, watched from outside, asked over HTTP."""

import asyncio
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import aiohttp
from PIL import Image

ROOT = Path(__file__).parents[1]
MODELS = "tools/models.py"
PNG = {"Content-Type": "image/png"}
SECONDS = 60
"""How long anything that a tool waits for may take."""

ORPHAN_SECONDS = 10
"""How long workers may outlive their server."""


class LoadError(Exception):
    """The server did not do what the tool needs to go on; the sentence says what."""


class Footprint(NamedTuple):
    """What processes hold: resident MiB and open files."""

    mib: float
    files: int


class Server:
    """`python -m server` on a free port of the loopback interface, leader of its own group.

    Args:
        data_dir: Where it keeps its results.
        arguments: More of its command line.
        log: Where its log is appended.
        environment: Added to this process's environment.
    """

    def __init__(
        self, data_dir: Path, arguments: Sequence[str], log: Path, environment: dict[str, str]
    ) -> None:
        command = [sys.executable, "-m", "server", "--host", "127.0.0.1", "--port", "0"]
        self.wal = data_dir / "predictions.db-wal"
        self._log = log
        self._skip = log.stat().st_size if log.exists() else 0
        self.url = ""
        with log.open("ab") as file:
            self.process = subprocess.Popen(  # noqa: S603 - our own server, as a user starts it
                [*command, "--data-dir", str(data_dir), *arguments],
                cwd=ROOT,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        """What this server logged."""
        return self._log.read_bytes()[self._skip :].decode(errors="replace")

    async def ready(self) -> "Server":
        """This server, once it is ready.

        Raises:
            LoadError: It ended instead.
        """
        pattern = re.compile(r"address\s+(http://[\w.:]+).*\bready\b", re.DOTALL)
        await until(
            lambda: pattern.search(self.log) or self.process.poll() is not None,
            "the start of the server",
        )
        if not (found := pattern.search(self.log)):
            raise LoadError(f"the server did not start:\n{self.log}")
        self.url = found.group(1)
        return self

    def workers(self) -> list[int]:
        """Its worker processes."""
        return [pid for pid in self.group() if pid != self.process.pid]

    def group(self) -> list[int]:
        """The processes of its group that are alive."""
        return [int(folder.name) for folder in Path("/proc").glob("[0-9]*") if self._leads(folder)]

    def kill(self) -> None:
        """`kill -9` the server alone."""
        self.process.kill()

    def kill_group(self) -> None:
        """`kill -9` the server and all that it started, at once."""
        os.killpg(self.process.pid, signal.SIGKILL)

    async def gone(self) -> None:
        """Wait until the server ended, and every process it started.

        Raises:
            LoadError: Some outlive it.
        """
        await asyncio.to_thread(self.process.wait, SECONDS)
        await until(lambda: not self.group(), "the end of the server's workers", ORPHAN_SECONDS)

    async def stop(self) -> int:
        """Tell it to stop, wait until all of it is gone; its exit code."""
        self.process.terminate()
        await self.gone()
        return self.process.returncode

    def _leads(self, folder: Path) -> bool:
        try:  # pid (name) state parent group ...
            state, _, group, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            return False
        return state != "Z" and int(group) == self.process.pid


async def until(holds: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    """Ask until something holds.

    Raises:
        LoadError: It took too long; `what` says what was waited for.
    """
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise LoadError(f"{what}: it did not come in {seconds:g} s")
        await asyncio.sleep(0.01)


def footprint(processes: Sequence[int]) -> Footprint:
    """What these processes hold together."""
    pages, files = 0, 0
    for pid in processes:
        pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        files += len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Footprint(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, files)


def picture(number: int) -> bytes:
    """A small PNG whose colour says a number, for models that read it (`tools/models.py`)."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (number >> 16 & 255, number >> 8 & 255, number & 255)).save(
        file, "PNG"
    )
    return file.getvalue()


def percentile(values: Sequence[float], share: float) -> float:
    """The value that so much of the values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


async def status(http: aiohttp.ClientSession) -> dict[str, dict[str, float]]:
    """The figures of `GET /status`."""
    async with http.get("/status") as reply:
        figures: dict[str, dict[str, float]] = await reply.json()
    return figures
