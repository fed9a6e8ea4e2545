"""Imports and exports a million results while predicts go on: time, memory, latency.

`python tools/million.py --results 1000000` writes a backup by itself, to a real S3 server (or, with
`--remote folder`, to a folder), has a server import and export it under a paced load of predicts,
then alone, and compares these times with those of copying the same bytes with no processing. Exit
code 1: the server grew by more than 100 MB, or what it exported is not what it imported.
"""

import argparse
import asyncio
import contextlib
import io
import os
import statistics
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import NamedTuple

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools.load import ROOT, LoadError, Server, footprint, percentile
from tools.million_backup import Bucket, Folder, Place, exported_hash, write_backup
from tools.s3_server import s3_server

JPEG = {"Content-Type": "image/jpeg"}
RATE = 50
"""Predicts a second, begun whether or not those before are answered."""

USUAL_SECONDS = 10
MAX_GROWTH_MB = 100


class Phase(NamedTuple):
    """What predicts met while something else went on."""

    seconds: float
    latencies: list[float]
    peak_mb: float

    def told(self, usual: float | None = None) -> str:
        """For people; `usual` is the usual p99, in milliseconds."""
        p99 = percentile(self.latencies, 0.99)
        ratio = f", {p99 / usual:.2f} times the usual" if usual else ""
        return (
            f"{self.seconds:6.1f} s, server at most {self.peak_mb:.0f} MB; predicts:"
            f" {len(self.latencies)}, p50 {statistics.median(self.latencies):.1f},"
            f" p99 {p99:.1f}{ratio}, max {max(self.latencies):.0f} ms"
        )


def copy_seconds(place: Place, file: io.BufferedRandom) -> tuple[float, float]:
    """How long the same lines take to the remote and back, uncompressed, with no processing."""
    file.seek(0)
    begin = time.perf_counter()
    place.put("copy", file)
    there = time.perf_counter()
    with tempfile.TemporaryFile() as copy:
        for piece in place.get("copy"):
            copy.write(piece)
        os.fsync(copy.fileno())
    return there - begin, time.perf_counter() - there


class Predicts:
    """Predicts at a steady rate, each timed from when it was due.

    Args:
        server: Whose.
        image: What is sent.
    """

    def __init__(self, server: Server, image: bytes) -> None:
        self._server = server
        self._image = image

    async def beside(self, http: aiohttp.ClientSession, path: str | None) -> Phase:
        """Predict while a POST to the path goes on; None: for a while."""
        latencies: list[float] = []
        peak = 0.0
        begin = time.perf_counter()
        other = asyncio.create_task(_do(http, path) if path else asyncio.sleep(USUAL_SECONDS))
        async with asyncio.TaskGroup() as group:
            for number in count():
                if other.done():
                    break
                due = begin + number / RATE
                await asyncio.sleep(due - time.perf_counter())
                group.create_task(self._predict(http, due, latencies))
                peak = max(peak, footprint([self._server.process.pid]).mib * 2**20 / 1e6)
            seconds = time.perf_counter() - begin
        await other
        return Phase(seconds, latencies, peak)

    async def _predict(
        self, http: aiohttp.ClientSession, due: float, latencies: list[float]
    ) -> None:
        async with http.post("/predict", data=self._image, headers=JPEG) as reply:
            await reply.read()
            if reply.status != 200:
                raise LoadError(f"a predict was answered {reply.status}")
        latencies.append((time.perf_counter() - due) * 1000)


async def _do(http: aiohttp.ClientSession, path: str) -> None:
    async with http.post(path) as reply:
        if reply.status != 200:
            raise LoadError(f"{path}: {await reply.text()}")


async def alone(http: aiohttp.ClientSession, path: str) -> float:
    """How long a POST to the path takes while nothing else goes on, in seconds."""
    begin = time.perf_counter()
    await _do(http, path)
    return time.perf_counter() - begin


async def run(place: Place, results: int, folder: Path) -> int:
    """Measure and tell; the exit code."""
    with tempfile.TemporaryFile(dir=folder) as file:
        content = await asyncio.to_thread(write_backup, place, results, file)
        size = file.tell() / 1e6
        put, get = await asyncio.to_thread(copy_seconds, place, file)
    print(f"{results} results, {size:.0f} MB; copying them: {put:.1f} s there, {get:.1f} s back")
    arguments = ("--remote", place.url, "--import-on-start", "never", "--workers", "1")
    server = Server(folder / "data", arguments, folder / "log", place.environment)
    try:
        await server.ready()
        predicts = Predicts(server, (ROOT / "examples/cat.jpg").read_bytes())
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(server.url, timeout=timeout) as http:
            await predicts.beside(http, None)  # warm
            usual = await predicts.beside(http, None)
            p99 = percentile(usual.latencies, 0.99)
            print(f"usual   {usual.told()}", flush=True)
            imported = await predicts.beside(http, "/import")
            print(f"import  {imported.told(p99)}", flush=True)
            exported = await predicts.beside(http, "/export")
            print(f"export  {exported.told(p99)}", flush=True)
            for path, copy in (("/import", get), ("/export", put)):
                seconds = await alone(http, path)
                print(f"{path} alone: {seconds:.1f} s, {seconds / copy:.1f} times the copy")
    finally:
        code = await server.stop()
    growth = max(imported.peak_mb, exported.peak_mb) - usual.peak_mb
    same = await asyncio.to_thread(exported_hash, place) == content
    print(f"the server grew by {growth:.0f} MB; what it exported is what it imported: {same}")
    return int(code != 0 or growth > MAX_GROWTH_MB or not same)


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--results", type=int, default=1_000_000)
    parser.add_argument("--remote", choices=["s3", "folder"], default="s3")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        place: Place
        if given.remote == "s3":
            place = Bucket(stack.enter_context(s3_server()))
        else:
            place = Folder(folder / "remote")
        return asyncio.run(run(place, given.results, folder))


if __name__ == "__main__":
    sys.exit(main())
