"""What backups cost: requests to S3 in a busy minute, and predicts while S3 is down.

`python -m tools.outage_cost puts` has so many results made in each second of a minute, and counts
the PUTs. `python -m tools.outage_cost predicts` measures /predict with the remote up, hanging and
cut off, in rounds. Exit code 1: over 70 PUTs a minute; or less than 0.95 of the rate was left, or
the 99th percentile was more than 1.1 times as long, while the remote was down.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools.load import PNG, percentile, picture
from tools.outage_site import Site, opened
from tools.s3_proxy import Fault

MOST_PUTS: Final = 70
"""A minute."""

LEAST_RATE: Final = 0.95
"""With the remote down, of that with it up."""

LONGEST_P99: Final = 1.1
"""Likewise."""

WARM_UP_SECONDS: Final = 2
CLIENTS: Final = 8
STATES: Final = {"up": None, "hanging": Fault.HANG, "cut off": Fault.CUT_BEFORE}


class Found(NamedTuple):
    """What clients met in a round.

    Attributes:
        rate: Predicts a second.
        p50: Seconds that they took in the middle, and `p99`: at the 99th percentile.
        cpu: Seconds of processor time that each cost the server and its workers: what else the
            machine does changes this the least.
    """

    rate: float
    p50: float
    p99: float
    cpu: float


async def puts(site: Site, given: argparse.Namespace) -> bool:
    """Have results made at a steady rate, whatever the answers take; whether the PUTs are few."""
    await site.backed_up()
    before = site.proxy.requests["PUT"]
    total = round(given.rate * given.seconds)
    async with aiohttp.ClientSession(
        site.server.url, connector=aiohttp.TCPConnector(limit=0)
    ) as http:
        began = time.monotonic()
        asked = []
        for number in range(total):
            await asyncio.sleep(max(0, began + number / given.rate - time.monotonic()))
            path = "/asyncPredict" if number % 2 else "/predict"
            asked.append(asyncio.create_task(_predict(http, path)))
        await asyncio.gather(*asked)
        seconds = time.monotonic() - began
    during = site.proxy.requests["PUT"] - before
    await site.backed_up()
    after = site.proxy.requests["PUT"] - before
    due = MOST_PUTS * seconds / 60
    print(
        f"puts      {total} results in {seconds:.1f} s: {during} PUTs, {after} until all was backed"
        f" up ({due:.0f} are due): {'ok' if after <= due else 'MISSED'}"
    )
    return after <= due


async def predicts(site: Site, given: argparse.Namespace) -> bool:
    """Rounds with the remote up, hanging and cut off; whether it makes no difference."""
    found: dict[str, list[Found]] = {state: [] for state in STATES}
    for number in range(given.rounds):
        print(f"round {number + 1}")
        for state, fault in _turned(list(STATES.items()), number):
            await site.backed_up()  # nothing is left to do from the round before
            site.proxy.fault = fault
            result = await _load(site, given.seconds)
            site.proxy.fault = None
            await site.kill()  # so that it does not wait for the next try
            found[state].append(result)
            print(f"  {state:<8} {_worded(result)}", flush=True)
    held = [_judge(state, found["up"], found[state]) for state in STATES if state != "up"]
    return all(held)


async def _load(site: Site, seconds: float) -> Found:
    """Clients that predict one image after the other; what they met after the warm-up."""
    end = time.monotonic() + WARM_UP_SECONDS + seconds
    took: list[float] = []
    asked = 0
    spent = _spent(site)

    async def client(http: aiohttp.ClientSession) -> None:
        nonlocal asked
        while (began := time.monotonic()) < end:
            await _predict(http, "/predict")
            asked += 1
            if end - seconds < began and time.monotonic() < end:
                took.append(time.monotonic() - began)

    async with aiohttp.ClientSession(site.server.url) as http:
        await asyncio.gather(*(client(http) for _ in range(CLIENTS)))
    cpu = (_spent(site) - spent) / asked
    return Found(len(took) / seconds, median(took), percentile(took, 0.99), cpu)


def _spent(site: Site) -> float:
    """Seconds of processor time that the server and its workers have had."""
    stats = [Path(f"/proc/{pid}/stat").read_text() for pid in site.server.group()]
    ticks = [stat.rpartition(")")[2].split()[11:13] for stat in stats]
    return sum(int(each) for pair in ticks for each in pair) / os.sysconf("SC_CLK_TCK")


async def _predict(http: aiohttp.ClientSession, path: str) -> None:
    async with http.post(path, data=picture(1), headers=PNG) as reply:
        reply.raise_for_status()
        await reply.read()


def _judge(state: str, up: Sequence[Found], down: Sequence[Found]) -> bool:
    """Print how a state compares with the remote up, round by round; whether it is the same."""
    rates = [mine.rate / base.rate for mine, base in zip(down, up, strict=True)]
    p99s = [mine.p99 / base.p99 for mine, base in zip(down, up, strict=True)]
    cpus = [mine.cpu / base.cpu for mine, base in zip(down, up, strict=True)]
    good = median(rates) >= LEAST_RATE and median(p99s) <= LONGEST_P99
    print(
        f"{state:<9} {median(rates):.3f} of the rate ({min(rates):.3f} to {max(rates):.3f};"
        f" {LEAST_RATE} is due), {median(p99s):.3f} of the p99 ({min(p99s):.3f} to {max(p99s):.3f};"
        f" {LONGEST_P99} is due), {median(cpus):.3f} of the processor time: "
        f"{'ok' if good else 'MISSED'}"
    )
    return good


def _turned(states: list[tuple[str, Fault | None]], by: int) -> list[tuple[str, Fault | None]]:
    """Forwards, then backwards: what follows on what must not decide."""
    return states[:: -1 if by % 2 else 1]


def _worded(found: Found) -> str:
    p50, p99, cpu = (1000 * each for each in (found.p50, found.p99, found.cpu))
    return f"{found.rate:6.1f}/s   p50 {p50:.1f}, p99 {p99:.1f} ms, {cpu:.3f} ms of processor each"


MEASURES: Final[dict[str, Callable[[Site, argparse.Namespace], Awaitable[bool]]]] = {
    "puts": puts,
    "predicts": predicts,
}


async def main(given: argparse.Namespace) -> int:
    """Measure; the exit code."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        async with opened(Path(folder), "--workers", "1", "--min-free-disk", "0") as site:
            return 0 if await MEASURES[given.what](site, given) else 1


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    kinds = parser.add_subparsers(dest="what", required=True)
    kind = kinds.add_parser("puts", help="how many PUTs a busy minute costs")
    kind.add_argument("--seconds", type=float, default=60, help="default: 60")
    kind.add_argument("--rate", type=float, default=200, help="results a second (default: 200)")
    kind = kinds.add_parser("predicts", help="predicts with the remote up and down")
    kind.add_argument("--seconds", type=float, default=20, help="of each state (default: 20)")
    kind.add_argument("--rounds", type=int, default=4, help="of all states (default: 4)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(parse())))
