"""Breaks the way to S3 in every way, kills S3 and the server, and looks for what was lost.

`python -m tools.outage --kills 100` starts SeaweedFS, a proxy that makes requests go wrong, a
server that backs up through it, and clients that predict, submit, delete, import and export. It
lets every fault come once; then faults as the dice have them, while the server is killed at random
moments; then it kills the server at each step of an export and of an import. After each part, what
the clients were told, what is there and what a fresh server restores must be the same. Exit code 1:
it is not.
"""

import argparse
import asyncio
import contextlib
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools import outage_commits, outage_steps
from tools.campaign import conduct
from tools.kill_steps import CannotTraceError
from tools.load import LoadError
from tools.outage_clients import clients
from tools.outage_site import Site, opened
from tools.outage_told import Told
from tools.s3_proxy import Fault

ARGUMENTS: Final = (
    *("--workers", "1", "--max-batch-size", "4", "--min-free-disk", "0"),
    *("--export-interval", "0.15"),
)
METHODS: Final = (None, None, {"PUT"}, {"GET"}, {"PUT", "POST"})
"""Which requests a fault hits; None: all."""


class Weather(NamedTuple):
    """How long each fault lasts, and how long Fault.DELAY delays, in seconds."""

    seconds: float
    delay: float


async def every_fault(
    site: Site, told: Told, weather: Weather, dice: random.Random
) -> Counter[str]:
    """Let each fault hit all requests for a time, and S3 be killed; how transfers were answered."""
    await site.server.ready()
    site.proxy.delay = weather.delay
    async with clients(site, told, dice, hindering=True) as found:
        for fault in Fault:
            site.proxy.fault = fault
            await asyncio.sleep(weather.seconds)
        site.calm()
        await _restart_s3(site, weather.seconds)
    return found.transfers


async def storm(
    site: Site, told: Told, weather: Weather, dice: random.Random, kills: int
) -> tuple[Counter[str], list[str]]:
    """Kill so many times while faults come and go; how transfers were answered, what is wrong."""
    wrong: list[str] = []
    site.proxy.delay = weather.delay
    async with clients(site, told, dice, hindering=True) as found, _faults(site, weather, dice):
        for number in range(kills):
            if dice.random() < 0.8:  # the others hit a server that starts
                await site.server.ready()
                await asyncio.sleep(dice.uniform(0, 1))
            else:
                await asyncio.sleep(dice.uniform(0, 0.5))
            if site.server.process.poll() is not None:
                raise LoadError(f"the server ended by itself:\n{site.server.log}")
            await site.kill()
            if number % 4 == 0:
                wrong += await site.present(told)
            if number % 20 == 19:
                print(f"  {number + 1} kills, {len(told.items)} results", flush=True)
    return found.transfers, wrong


@contextlib.asynccontextmanager
async def _faults(site: Site, weather: Weather, dice: random.Random) -> AsyncIterator[None]:
    """Faults that come and go, and S3 killed now and then, for as long as the context lasts."""
    ending = asyncio.Event()

    async def run() -> None:
        while not ending.is_set():
            site.calm()
            if dice.random() < 0.1:
                await _restart_s3(site, dice.uniform(0, 1))
            fault, methods = dice.choice(list(Fault)), dice.choice(METHODS)
            site.proxy.inject(fault, times=10**9, methods=methods)
            await _within(ending, weather.seconds * dice.uniform(0.2, 1))
            site.calm()
            await _within(ending, weather.seconds * dice.uniform(0, 0.5))

    task = asyncio.create_task(run())
    try:
        yield
    finally:
        ending.set()
        await task


async def _within(ending: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(ending.wait(), seconds)


async def _restart_s3(site: Site, seconds: float) -> None:
    await asyncio.to_thread(site.s3.kill)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(site.s3.start)


async def steps(site: Site, told: Told, chosen: Sequence[outage_steps.Step]) -> list[str]:
    """Kill at each of these steps; what was wrong."""
    wrong = []
    for step in chosen:
        found = await outage_steps.take(site, told, step)
        name = f"{step.name}, {step.moment.name.lower()}"
        print(f"step      {step.action:<8} {'LOST' if found else 'ok'}: {name}", flush=True)
        wrong += [f"{step.action}, {name}: {each}" for each in found]
    return wrong


async def commits(
    site: Site, told: Told, chosen: Sequence[outage_commits.Commits], most: int
) -> tuple[int, list[str]]:
    """Kill at each of these writes of the store; how many kills, and what was wrong."""
    wrong, total = [], 0
    for each in chosen:
        name = f"{each.step.action:<8} {each.step.name}, each {each.call}"
        try:
            kills, found = await outage_commits.sweep(site, told, each, most)
        except CannotTraceError as error:
            print(f"writes    {name}: skipped: {error}")
            continue
        print(f"writes    {name}: {kills} kills, {'LOST' if found else 'ok'}", flush=True)
        total += kills
        wrong += [f"{name}: {sentence}" for sentence in found]
    return total, wrong


async def run(given: argparse.Namespace, folder: Path) -> list[str]:
    """The whole campaign; what was lost."""
    told, began = Told(), time.monotonic()
    dice = random.Random(given.seed)  # noqa: S311 - a campaign that can be repeated
    weather = Weather(given.seconds, given.delay)
    async with opened(folder, *ARGUMENTS) as site:
        answered = await every_fault(site, told, weather, dice)
        lost = await site.rest(told)
        print(f"faults    {len(Fault)} and S3 killed: {_verdict(lost)}", flush=True)
        more, found = await storm(site, told, weather, dice, given.kills)
        found += await site.rest(told)
        print(f"storm     {given.kills} kills under faults: {_verdict(found)}", flush=True)
        lost += found
        await outage_steps.fill(site, told)
        lost += await steps(site, told, outage_steps.STEPS)
        traced, found = await commits(site, told, outage_commits.ALL, most=40)
        lost += found + await site.rest(told)
        requests = ", ".join(f"{n} {method}" for method, n in sorted(site.proxy.requests.items()))
    print(
        f"killed    {given.kills} times at random, {len(outage_steps.STEPS)} at steps, {traced} at"
        f" writes, in {time.monotonic() - began:.0f} s (seed {given.seed})\n"
        f"answered  {_listed(answered + more)}\n"
        f"told      {told.summary()}\n"
        f"asked S3  {requests}"
    )
    return lost


def _verdict(lost: list[str]) -> str:
    return "LOST" if lost else "remote and local are the same"


def _listed(times: Counter[str]) -> str:
    return ", ".join(f"{what} {n} times" for what, n in sorted(times.items()))


def main() -> int:
    """Read the command line; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=60, help="at random (default: 60)")
    parser.add_argument("--seconds", type=float, default=6, help="of each fault (default: 6)")
    parser.add_argument("--delay", type=float, default=30, help="seconds (default: 30)")
    parser.add_argument("--seed", type=int, default=1, help="of the dice")
    return conduct(parser, run)


if __name__ == "__main__":
    sys.exit(main())
