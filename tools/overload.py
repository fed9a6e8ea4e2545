"""Asks a server for far more than it can do, and measures what it still does.

`python tools/overload.py` runs rounds of three: 32 clients, which is as many as may wait (the rate
at which nothing is refused); 1,000 clients that honour Retry-After; 1,000 that ask again at once.
Of each it prints the images answered in a second and how long `/livez` took meanwhile. Exit code 1:
less than 0.95 or 0.8 of the first rate was left, or the 99th percentile of /livez was over 100 ms.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import NamedTuple

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools.load import MODELS, Server, footprint, percentile, picture

QUEUE = 32
WARM_UP_SECONDS = 2
LIVEZ_SECONDS = 0.1


class Crowd(NamedTuple):
    """Clients that ask again and again, and how much of the unloaded rate must be left."""

    name: str
    clients: int
    honours: bool
    due: float


class Found(NamedTuple):
    """What one crowd met: replies by status, images a second, seconds that /livez took, MiB."""

    replies: Counter[int]
    rate: float
    livez: list[float]
    mib: float


async def ask(
    http: aiohttp.ClientSession, data: bytes, crowd: Crowd, replies: Counter[int]
) -> None:
    """One client, until cancelled."""
    headers = {"Content-Type": "application/octet-stream"}
    while True:
        async with http.post("/predict", data=data, headers=headers) as reply:
            await reply.read()
        replies[reply.status] += 1
        if crowd.honours and reply.status == 429:
            await asyncio.sleep(int(reply.headers["Retry-After"]))


async def meet(server: Server, crowd: Crowd, data: bytes, seconds: float) -> Found:
    """Let a crowd loose; what came of it once all of it was there."""
    replies: Counter[int] = Counter()
    loop, connector = asyncio.get_running_loop(), aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(server.url, connector=connector) as http:
        clients = [
            asyncio.create_task(ask(http, data, crowd, replies)) for _ in range(crowd.clients)
        ]
        await asyncio.sleep(WARM_UP_SECONDS)
        replies.clear()
        began = time.perf_counter()
        with ProcessPoolExecutor(1) as other:  # our own loop is busy: it would measure itself
            livez = await loop.run_in_executor(other, watch, server.url, seconds)
        rate = replies[200] / (time.perf_counter() - began)
        found = Found(replies.copy(), rate, livez, footprint([server.process.pid]).mib)
        for client in clients:
            client.cancel()
        ended = await asyncio.gather(*clients, return_exceptions=True)
    if errors := [each for each in ended if isinstance(each, Exception)]:
        raise ExceptionGroup("clients could not ask", errors)
    return found


def watch(url: str, seconds: float) -> list[float]:
    """How long /livez takes, asked about every 10 ms."""

    async def run() -> list[float]:
        found = []
        end = time.perf_counter() + seconds
        async with aiohttp.ClientSession(url) as http:
            while (began := time.perf_counter()) < end:
                async with http.get("/livez") as reply:
                    await reply.read()
                found.append(time.perf_counter() - began)
                await asyncio.sleep(0.01)
        return found

    return asyncio.run(run())


def tell(crowd: Crowd, found: Found) -> None:
    """Print what a crowd met."""
    livez = [percentile(found.livez, share) * 1000 for share in (0.5, 0.99, 1)]
    replies = ", ".join(f"{n} x {code}" for code, n in sorted(found.replies.items()))
    print(
        f"  {crowd.name:<9} {found.rate:6.1f} images/s   livez p50 {livez[0]:.1f},"
        f" p99 {livez[1]:.1f}, max {livez[2]:.1f} ms   {found.mib:.0f} MiB   {replies}",
        flush=True,
    )


async def run(server: Server, data: bytes, given: argparse.Namespace) -> bool:
    """All rounds; whether every bound held."""
    crowds = [
        Crowd("unloaded", QUEUE, honours=True, due=0),
        Crowd("honouring", given.clients, honours=True, due=0.95),
        Crowd("hammering", given.clients, honours=False, due=0.8),
    ]
    all_found: list[list[Found]] = [[] for _ in crowds]
    for number in range(given.rounds):
        print(f"round {number + 1}")
        for crowd, found in zip(crowds, all_found, strict=True):
            found.append(await meet(server, crowd, data, given.seconds))
            tell(crowd, found[-1])
    held = True
    for crowd, found in zip(crowds[1:], all_found[1:], strict=True):
        shares = [mine.rate / base.rate for mine, base in zip(found, all_found[0], strict=True)]
        p99 = median(percentile(each.livez, 0.99) for each in found)
        odd = {code for each in found for code in each.replies} - {200, 429}
        good = median(shares) >= crowd.due and p99 <= LIVEZ_SECONDS and not odd
        held = held and good
        print(
            f"{crowd.name:<11} {median(shares):.3f} of the unloaded rate ({min(shares):.3f} to"
            f" {max(shares):.3f}; {crowd.due} is due), livez p99 {p99 * 1000:.0f} ms"
            f" (100 is due), other replies: {sorted(odd) or 'none'}: {'ok' if good else 'MISSED'}"
        )
    return held


async def main(given: argparse.Namespace) -> int:
    """Start the server, meet the crowds, stop it; the exit code."""
    data = given.image.read_bytes() if given.image else picture(1)
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["--max-queue", str(QUEUE), "--model", given.model, *given.server]
        server = Server(Path(folder) / "data", arguments, Path(folder) / "log", {})
        try:
            held = await run(await server.ready(), data, given)
            await server.stop()
        finally:
            server.process.kill()
    return 0 if held else 1


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clients", type=int, default=1000, help="in a crowd (default: 1000)")
    parser.add_argument("--seconds", type=float, default=10, help="for each crowd (default: 10)")
    parser.add_argument("--rounds", type=int, default=3, help="of all three (default: 3)")
    parser.add_argument("--model", default=f"{MODELS}:Slow", help="default: one that takes 10 ms")
    parser.add_argument("--image", type=Path, help="photo to send; else a tiny one")
    parser.add_argument("server", nargs="*", help="after --: more of the server's command line")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(parse())))
