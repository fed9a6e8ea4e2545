"""Asks a server for all that it does, very often, and looks whether it grows.

`python tools/soak.py --requests 100000` predicts, submits, gets, lists, deletes, and leaves without
waiting for an answer, with a model that does nothing. Exit code 1: after the warm-up the server or
its workers grew by more than 5 MiB, files stayed open, or the database's log (WAL) has no bound.
"""

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections import Counter, deque
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools.load import MODELS, PNG, Footprint, LoadError, Server, footprint, picture, status, until

CLIENTS = 16
WARM_UP = 0.25
"""The share of the requests after which the server should have its size."""

MAX_GROWTH_MIB = 5.0
MAX_WAL_MIB = 32.0
OPEN = {"01", "08"}
"""States of a connection in /proc/net/tcp: established, and closed by its client alone."""

IDS_KEPT = 2000
"""Results that stand at a time, about: older ones are deleted."""


class Size(NamedTuple):
    """What the server and its workers hold when nobody asks anything."""

    server: Footprint
    workers: Footprint


class Clients:
    """Clients that ask at random, each one request after the other."""

    def __init__(self, server: Server, seed: int) -> None:
        self._server = server
        self._dice = random.Random(seed)  # noqa: S311 - a soak that can be repeated
        self._ids: deque[str] = deque()
        self._image = picture(7)
        self.replies: Counter[str] = Counter()
        self.wal_mib = 0.0

    async def ask(self, requests: int) -> None:
        """Make so many requests, then leave."""
        left = iter(range(requests))
        works = [self._predict, self._submit, self._get, self._delete, self._page, self._leave]
        watcher = asyncio.create_task(self._watch())

        async def client(http: aiohttp.ClientSession) -> None:
            for _ in left:
                [work] = self._dice.choices(works, [30, 15, 25, 20, 8, 2])
                await work(http)

        async with aiohttp.ClientSession(self._server.url) as http, asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(client(http))
        watcher.cancel()

    async def _predict(self, http: aiohttp.ClientSession, path: str = "/predict") -> None:
        async with http.post(path, data=self._image, headers=PNG) as reply:
            self._ids.append((await reply.json())["request_id"])
            self.replies[f"POST {path} {reply.status}"] += 1

    async def _submit(self, http: aiohttp.ClientSession) -> None:
        await self._predict(http, "/asyncPredict")

    async def _get(self, http: aiohttp.ClientSession) -> None:
        if self._ids:
            await self._read(http, "GET", "/predictResults", f"/{self._ids[-1]}")

    async def _page(self, http: aiohttp.ClientSession) -> None:
        await self._read(http, "GET", "/predictResults", "?limit=50")

    async def _delete(self, http: aiohttp.ClientSession) -> None:
        for _ in range(1 + (len(self._ids) > IDS_KEPT) * 4):
            if self._ids:
                await self._read(http, "DELETE", "/delete", f"/{self._ids.popleft()}")

    async def _leave(self, http: aiohttp.ClientSession) -> None:
        """Go away before the answer can be there."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.001):
                await self._predict(http)

    async def _read(self, http: aiohttp.ClientSession, method: str, path: str, rest: str) -> None:
        async with http.request(method, path + rest) as reply:
            await reply.read()
            self.replies[f"{method} {path} {reply.status}"] += 1

    async def _watch(self) -> None:
        while True:
            self.wal_mib = max(self.wal_mib, self._server.wal.stat().st_size / 2**20)
            await asyncio.sleep(0.05)


async def size(server: Server) -> Size:
    """Its size, once nothing is Pending and every connection is closed.

    Raises:
        LoadError: It does not come to rest.
    """
    async with aiohttp.ClientSession(server.url) as http:
        while (await status(http))["pending"]["count"]:  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.02)
    await until(lambda: not connections(server), "the closing of all connections")
    return Size(footprint([server.process.pid]), footprint(server.workers()))


def connections(server: Server) -> int:
    """How many connections the server holds open."""
    port = f":{urlsplit(server.url).port:04X}"
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(local.endswith(port) and state in OPEN for _, local, _, state, *_ in rows)


def judge(warm: Size, end: Size, wal_mib: float) -> list[str]:
    """What grew that must not."""
    grown = []
    for name, before, after in zip(("server", "workers"), warm, end, strict=True):
        growth = after.mib - before.mib
        print(
            f"{name:<8} {before.mib:6.1f} MiB after the warm-up, {after.mib:6.1f} at the end"
            f" ({growth:+.1f}); {before.files} open files, {after.files} at the end"
        )
        if growth > MAX_GROWTH_MIB:
            grown.append(f"{name}: {growth:.1f} MiB more, {MAX_GROWTH_MIB:g} are allowed")
        if after.files > before.files:
            grown.append(f"{name}: {after.files - before.files} files more")
    print(f"WAL      {wal_mib:.1f} MiB at most")
    if wal_mib > MAX_WAL_MIB:
        grown.append(f"WAL: {wal_mib:.1f} MiB, {MAX_WAL_MIB:g} are allowed")
    return grown


async def run(server: Server, given: argparse.Namespace) -> list[str]:
    """The warm-up, the rest, and what grew."""
    clients = Clients(await server.ready(), given.seed)
    await clients.ask(int(given.requests * WARM_UP))
    warm = await size(server)
    began, rest = time.perf_counter(), given.requests - int(given.requests * WARM_UP)
    await clients.ask(rest)
    seconds = time.perf_counter() - began
    end = await size(server)
    print("\n".join(f"{n:>8} x {what}" for what, n in sorted(clients.replies.items())))
    print(f"rate     {rest / seconds:.0f} requests/s")
    return judge(warm, end, clients.wal_mib)


async def main(given: argparse.Namespace) -> int:
    """Start the server, soak it, stop it; the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["--model", f"{MODELS}:Null", *given.server]
        server = Server(Path(folder) / "data", arguments, Path(folder) / "log", {})
        try:
            grown = await run(server, given)
            if code := await server.stop():
                grown.append(f"the server ended with exit code {code}")
        except LoadError as error:
            grown = [str(error)]
        finally:
            server.process.kill()
    print("\n".join(grown) or "nothing grew")
    return 1 if grown else 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=100_000, help="default: 100000")
    parser.add_argument("--seed", type=int, default=1, help="of what is asked")
    parser.add_argument("server", nargs="*", help="after --: more of the server's command line")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(parse())))
