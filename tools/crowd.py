"""Crowds a server with idle connections and slow writers, and measures what a good predict takes.

`python tools/crowd.py` opens 5,000 connections that ask for nothing and 500 that write a head or a
body a few bytes a second; whoever is shown the door comes back, until the predicts are measured.
A second server, not crowded, is asked in turn with the first: what else the machine does meanwhile
falls on both. Exit code 1: the crowded one's median was more than 1.5 times the other's, a predict
failed, a connection was not closed within a second of its deadline, or files stayed open.
"""

import argparse
import asyncio
import os
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools.load import ROOT, Footprint, LoadError, Server, footprint, percentile, until
from tools.visitors import Crowd, Kind, kinds

DEADLINES = kinds(header=15, keepalive=75, body=5)
"""The server's defaults; a body has 5 seconds to get going."""

SPARE_SECONDS = 1.0
MAX_RATIO = 1.5
SAMPLE_SECONDS = 0.5
FILES = 500
"""Files that a process may have open beside the crowd's connections."""


class Sizes:
    """What the server, without its workers, holds: at first, at most, and at the end."""

    def __init__(self, server: Server) -> None:
        self._pid = server.process.pid
        self.first = self.most = self.now()

    def now(self) -> Footprint:
        """What it holds."""
        return footprint([self._pid])

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            mib, files = self.now()
            self.most = Footprint(max(mib, self.most.mib), max(files, self.most.files))
            await asyncio.sleep(SAMPLE_SECONDS)

    async def last(self) -> Footprint:
        """What it holds once it has no more files open than at first.

        Raises:
            LoadError: Some stay open.
        """
        await until(lambda: self.now().files <= self.first.files, "the closing of files", 10)
        return self.now()


def predict(urls: list[str], number: int, pause: float) -> list[list[float]]:
    """Milliseconds of so many predicts of each server in turn, each over a new connection.

    Raises:
        aiohttp.ClientError: One was not answered by 200.
    """
    photo = (ROOT / "examples/cat.jpg").read_bytes()
    headers = {"Content-Type": "image/jpeg", "Connection": "close"}

    async def run() -> list[list[float]]:
        took: list[list[float]] = [[] for _ in urls]
        async with aiohttp.ClientSession(headers=headers, raise_for_status=True) as http:
            for _ in range(number):
                for url, mine in zip(urls, took, strict=True):
                    began = time.perf_counter()
                    async with http.post(f"{url}/predict", data=photo) as reply:
                        await reply.read()
                    mine.append((time.perf_counter() - began) * 1000)
                    await asyncio.sleep(pause)
        return took

    return asyncio.run(run())


def compare(when: str, took: list[list[float]]) -> float:
    """Print what predicts took; how many times the median of the other server the crowded's is."""
    print(f"{when}, load average {os.getloadavg()[0]:.1f}")
    for name, mine in zip(("crowded", "other"), took, strict=True):
        p50, p90, p99, most = (percentile(mine, share) for share in (0.5, 0.9, 0.99, 1))
        print(f"  {name:<8} p50 {p50:.1f}, p90 {p90:.1f}, p99 {p99:.1f}, max {most:.1f} ms")
    ratio = median(took[0]) / median(took[1])
    print(f"  ratio    {ratio:.2f}", flush=True)
    return ratio


def tell_visits(crowd: Crowd, kind: Kind) -> int:
    """Print how the visits of a kind ended; how many ended as they must not."""
    visits = [visit for visit in crowd.visits if visit.kind == kind]
    wrong = [visit for visit in visits if not visit.went_well(SPARE_SECONDS)]
    told, closed = [v.told for v in visits], [v.closed for v in visits]
    print(
        f"{kind.name:<9}{len(visits):>6} x, due after {kind.due:g} s: told after {min(told):.2f} to"
        f" {max(told):.2f} s, closed after {min(closed):.2f} to {max(closed):.2f} s"
    )
    for visit in wrong[:3]:
        print(f"  not so: {visit.reply[:40]!r} after {visit.told:.2f} s")
    return len(wrong)


async def run(servers: list[Server], given: argparse.Namespace) -> list[str]:
    """Measure, crowd, measure again, and let the crowd go; what was missed."""
    loop, urls = asyncio.get_running_loop(), [(await each.ready()).url for each in servers]
    crowd = Crowd(urls[0])
    numbers = [each // 2 for each in (given.idle, given.idle, given.slow, given.slow)]
    with ProcessPoolExecutor(1) as other:  # our own loop is busy: it would measure itself

        async def measure(when: str) -> float:
            arguments = (urls, given.predicts, given.pause)
            return compare(when, await loop.run_in_executor(other, predict, *arguments))

        await loop.run_in_executor(other, predict, urls, 20, 0)  # they get warm
        await measure("before")
        sizes = Sizes(servers[0])
        watch = asyncio.create_task(sizes.watch(), name="sizes")
        for kind, number in zip(DEADLINES, numbers, strict=True):
            crowd.send(kind, number)
        await until(lambda: crowd.present >= sum(numbers), "the coming of the crowd")
        ratio = await measure("while crowded")
        await crowd.leave()
        await measure("after")
    watch.cancel()
    missed = [] if ratio <= MAX_RATIO else [f"the median predict took {ratio:.2f} times as long"]
    return missed + await judge(crowd, sizes)


async def judge(crowd: Crowd, sizes: Sizes) -> list[str]:
    """What was missed of the connections."""
    wrong = sum(tell_visits(crowd, kind) for kind in DEADLINES)
    last, first, most = await sizes.last(), sizes.first, sizes.most
    each = (most.mib - first.mib) * 1024 / (most.files - first.files)
    print(
        f"memory   {first.mib:.0f} MiB before, {most.mib:.0f} at most, {last.mib:.0f} after:"
        f" {each:.1f} KiB for a connection"
        f"\nfiles    {first.files} before, {most.files} at most, {last.files} after"
    )
    return [f"{wrong} visits did not end as they must"] * (wrong > 0)


async def main(given: argparse.Namespace) -> int:
    """Start the server, crowd it, stop it; the exit code."""
    connections = given.idle + given.slow + 100
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(connections + FILES, files), files))
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["--max-connections", str(connections), "--workers", "1", *given.server]
        servers = [
            Server(Path(folder) / name, arguments, Path(folder) / f"{name}.log", {})
            for name in ("crowded", "other")
        ]
        try:
            missed = await run(servers, given)
            for each in servers:
                if code := await each.stop():
                    missed.append(f"a server ended with exit code {code}")
        except (LoadError, aiohttp.ClientError) as error:
            missed = [str(error)]
        finally:
            for each in servers:
                each.process.kill()
    print("\n".join(f"MISSED   {sentence}" for sentence in missed) or "every bound held")
    return 1 if missed else 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--idle", type=int, default=5000, help="connections (default: 5000)")
    parser.add_argument("--slow", type=int, default=500, help="writers (default: 500)")
    parser.add_argument("--predicts", type=int, default=250, help="of each (default: 250)")
    parser.add_argument("--pause", type=float, default=0.03, help="between them (default: 0.03 s)")
    parser.add_argument("server", nargs="*", help="after --: more of the server's command line")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(parse())))
