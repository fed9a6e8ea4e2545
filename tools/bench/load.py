"""What a load generator found, and the two of them: wrk for the closed loop, k6 for the open one.

In a closed loop each client sends its next request when it has its answer: it finds the greatest
rate. In an open loop requests begin at a given rate whatever becomes of them: it finds latencies as
users meet them, with no coordinated omission.
"""

import json
import math
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from tools.bench.environment import Environment, UnavailableError
from tools.bench.upload import Upload

FOLDER: Final = Path(__file__).parent
_SPARE_SECONDS: Final = 60


@dataclass(frozen=True)
class Found:
    """What came of a load.

    Attributes:
        rate: Right answers a second.
        right: How many; `wrong` are answered otherwise than expected, `refused` with 429 or 503,
            `failed` in any other way, `unsent` not sent, for want of clients (open loop alone).
        p50: Milliseconds; `p90`, `p99` likewise. In an open loop those of the right answers.
        generator: Of a core, how much the generator took.
        sample: A wrong answer, if any.
    """

    rate: float
    right: int
    wrong: int
    refused: int
    failed: int
    unsent: int
    p50: float
    p90: float
    p99: float
    generator: float
    sample: str = ""

    @property
    def fault(self) -> str | None:
        """Why these figures don't count: an answer was wrong, or there is none."""
        if self.wrong:
            return f"{self.wrong} of {self.right + self.wrong} answers were wrong: {self.sample}"
        return None if self.right else f"no right answer; {self.refused} refused"


def closed(url: str, uploads: Sequence[Upload], clients: int, seconds: float) -> Found:
    """Let so many clients ask for so long; each takes the next upload.

    Raises:
        UnavailableError: wrk is not installed, or did not do it.
    """
    lines = "".join(_line(each) for each in uploads)
    return _wrk(url, lines, clients, seconds)


def fetch(url: str, paths: Sequence[str], clients: int, seconds: float) -> Found:
    """The same with GETs, whose answers are not looked at.

    Raises:
        UnavailableError: wrk is not installed, or did not do it.
    """
    lines = "".join(f"GET\t{path}\t\t\t\t\n" for path in paths)
    return _wrk(url, lines, clients, seconds)


def _line(upload: Upload) -> str:
    headers = "|".join(f"{key}: {value}" for key, value in upload.headers.items())
    fields = ("POST", upload.path, str(upload.body), headers, upload.name, upload.label)
    return "\t".join(fields) + "\n"


def _wrk(url: str, lines: str, clients: int, seconds: float) -> Found:
    if not shutil.which("wrk"):
        raise UnavailableError("wrk is not installed: `apt-get install wrk`")
    with tempfile.NamedTemporaryFile("w", prefix="bench-") as file:
        file.write(lines)
        file.flush()
        command = ["wrk", "-t1", f"-c{clients}", f"-d{math.ceil(seconds)}s", "--timeout", "30s"]
        command += ["-s", str(FOLDER / "wrk.lua"), url, "--", file.name]
        told, cpu = _run(command, seconds, {})
    return Found(
        rate=told["right"] / told["seconds"],
        right=told["right"],
        wrong=told["wrong"],
        refused=told["refused"],
        failed=told["broken"] + told["timeouts"],
        unsent=0,
        p50=told["p50"],
        p90=told["p90"],
        p99=told["p99"],
        generator=cpu / told["seconds"],
        sample=told["sample"],
    )


class Pace(NamedTuple):
    """How an open loop goes.

    Attributes:
        rate: Requests a second that begin.
        seconds: How long.
        clients: At most so many are under way; a request that finds none free is not sent.
    """

    rate: float
    seconds: float
    clients: int


def opened(url: str, uploads: Sequence[Upload], pace: Pace, home: Environment) -> Found:
    """Begin requests at a pace, whatever becomes of them.

    Args:
        url: The system's.
        uploads: Taken in turn.
        pace: How.
        home: Where k6 is.

    Raises:
        UnavailableError: k6 did not do it.
    """
    requests = [
        {"path": each.path, "headers": each.headers, "file": str(each.body),
         "name": each.name, "label": each.label}
        for each in uploads
    ]  # fmt: skip
    plan = {"url": url, **pace._asdict(), "rate": round(pace.rate)}
    with tempfile.NamedTemporaryFile("w", prefix="bench-", suffix=".json") as file:
        json.dump({**plan, "requests": requests}, file)
        file.flush()
        command = [str(home.programs / "k6"), "run", "--quiet", "--no-usage-report", "--no-color"]
        command += ["--address", "", str(FOLDER / "k6.js")]
        told, cpu = _run(command, pace.seconds, {"PLAN": file.name})
    return Found(
        rate=told["right"] / told["seconds"],
        right=told["right"] + told["late"],
        wrong=told["wrong"],
        refused=told["refused"],
        failed=told["failed"],
        unsent=told["unsent"],
        p50=told["p50"],
        p90=told["p90"],
        p99=told["p99"],
        generator=cpu / told["seconds"],
    )


def _run(
    command: list[str], seconds: float, more: dict[str, str]
) -> tuple[dict[str, Any], float]:  # Any: as JSON has it
    """What a generator told, and its seconds of processor time."""
    before = _children_cpu()
    try:
        done = subprocess.run(  # noqa: S603 - the generators
            command,
            env=os.environ | more,
            capture_output=True,
            text=True,
            timeout=seconds + _SPARE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"{Path(command[0]).name} did not end") from None
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        words = " ".join((done.stdout + done.stderr).split())[-300:]
        raise UnavailableError(f"{Path(command[0]).name} failed: {words}")
    told: dict[str, Any] = json.loads(lines[-1])
    return told, _children_cpu() - before


def _children_cpu() -> float:
    """Of the children that have ended: the generators, one after the other."""
    times = os.times()
    return times.children_user + times.children_system
