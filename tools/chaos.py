"""Kills the server and its workers under load, again and again, and looks for what was lost.

`python tools/chaos.py --kills 200` starts a server and clients that predict and submit, kills at
random moments (the server, a worker, all at once), starts the server again each time, and at the
end compares what the clients were told with what is there. Then it kills once at each step of a
prediction (`kill_steps`). Exit code 1: something was lost.
"""

import argparse
import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools import kill_steps
from tools.campaign import conduct
from tools.stage import Result, Stage, form, number_of

CLIENTS = 6
"""Of each kind: those that predict and those that submit."""

ARGUMENTS = ("--workers", "2", "--max-batch-size", "4", "--min-free-disk", "0")
BUSY = {429, 503}
Reply = tuple[int, dict[str, Any]]  # Any: as JSON has it


@dataclass
class Told:
    """What clients were told, and what they may hold the server to.

    Attributes:
        accepted: The numbers of the images that `/asyncPredict` accepted, by their request ids.
        finished: Results that were given to a client; they may never change.
        odd: Replies that no client should get.
    """

    accepted: dict[str, int] = field(default_factory=dict)
    finished: dict[str, Result] = field(default_factory=dict)
    odd: list[str] = field(default_factory=list)

    def losses(self, results: Mapping[str, Result]) -> list[str]:
        """What does not hold, given all results."""
        lost = list(self.odd)
        for key, number in self.accepted.items():
            found = results.get(key, {"status": "gone"})
            if found["status"] != "Success" or number_of(found) != number:
                lost.append(f"{key} was accepted with image {number}; now it is {found}")
        for key, told in self.finished.items():
            if results.get(key) != told:
                lost.append(f"{key} was answered {told}; now it is {results.get(key)}")
        done = [result for result in results.values() if result["status"] == "Success"]
        lost += [
            f"{key} ended badly: {result}"
            for key, result in results.items()
            if result["status"] != "Success" and result.get("error") != "worker_lost"
        ]
        lost += [
            f"{result['request_id']} is of image {number_of(result)}, its label of another"
            for result in done
            if result["response"]["label"] != str(number_of(result))
        ]
        times = Counter(map(number_of, done))
        return lost + [
            f"image {n} is recorded {many} times" for n, many in times.items() if many > 1
        ]


class Clients:
    """Clients that predict and submit one image after the other, whatever happens to the server."""

    def __init__(self, stage: Stage, told: Told) -> None:
        self._stage = stage
        self._told = told
        self._numbers: Iterator[int] = count(10)
        self.leaving = False

    async def run(self) -> None:
        """Ask until told to leave: then each has the end of its last request."""
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(timeout=timeout) as http, asyncio.TaskGroup() as group:
            for work in [self._predict, self._submit] * CLIENTS:
                group.create_task(self._repeat(http, work))

    async def _repeat(
        self, http: aiohttp.ClientSession, work: Callable[[aiohttp.ClientSession], Awaitable[bool]]
    ) -> None:
        while not self.leaving:
            try:
                if await work(http):
                    continue
            except (aiohttp.ClientError, TimeoutError):
                pass  # nothing was told: nothing can be held against the server
            await asyncio.sleep(0.02)

    async def _predict(self, http: aiohttp.ClientSession) -> bool:
        code, body = await self._post(http, "predict", next(self._numbers))
        if code == 200:
            self._told.finished[body["request_id"]] = body
        return code == 200

    async def _submit(self, http: aiohttp.ClientSession) -> bool:
        number = next(self._numbers)
        code, body = await self._post(http, "asyncPredict", number)
        if code == 200:
            self._told.accepted[body["request_id"]] = number
            if number % 4 == 0:  # the others make a backlog
                await self._wait_for(http, body["request_id"])
        return code == 200

    async def _post(self, http: aiohttp.ClientSession, path: str, number: int) -> Reply:
        url = f"{self._stage.server.url}/{path}"
        async with http.post(url, data=form(number)) as reply:
            code, body = reply.status, await reply.json()
        if code != 200 and code not in BUSY and body.get("error") != "worker_lost":
            self._told.odd.append(f"image {number} was answered {code} {body}")
        return code, body

    async def _wait_for(self, http: aiohttp.ClientSession, request_id: str) -> None:
        url = f"{self._stage.server.url}/predictResults/{request_id}"
        async with http.get(url, headers={"Prefer": "wait=5"}) as reply:
            body = await reply.json()
        if body["status"] != "Pending":
            self._told.finished[request_id] = body


async def campaign(stage: Stage, told: Told, kills: int, seed: int) -> Counter[str]:
    """Kill so many times under load; how many of each kind.

    Raises:
        LoadError: The server did not come back, or not all of it went.
    """
    dice = random.Random(seed)  # noqa: S311 - a campaign that can be repeated
    done: Counter[str] = Counter()
    clients = Clients(stage, told)
    asking = asyncio.create_task(clients.run())
    try:
        for number in range(kills):
            # two kills in a row at most: an image lost three times is given up, and rightly
            if number % 2 == 0:
                await stage.calm()
            elif dice.random() < 0.7:  # the others hit a server that starts
                await stage.server.ready()
            done[await _strike(stage, dice)] += 1
            if number % 20 == 19:
                print(f"  {number + 1} kills, {len(told.accepted)} accepted", flush=True)
        clients.leaving = True
        await asking
    finally:
        asking.cancel()
    return done


async def _strike(stage: Stage, dice: random.Random) -> str:
    kind = dice.choice(["server", "server", "group", "worker"])
    await asyncio.sleep(dice.uniform(0, 0.4))
    if stage.server.process.poll() is not None:
        raise stage.dead()
    if kind == "worker":
        await stage.server.ready()
        if workers := stage.server.workers():  # else they are lost already, and being replaced
            with contextlib.suppress(ProcessLookupError):
                os.kill(dice.choice(workers), signal.SIGKILL)
        return kind
    if kind == "group":
        stage.server.kill_group()
    else:
        stage.server.kill()
    await stage.server.gone()
    stage.launch()
    return kind


async def audit(stage: Stage, told: Told) -> list[str]:
    """Let the last server finish and stop; what was lost."""
    await stage.rest()
    results = await stage.results()
    code = await stage.server.stop()
    lost = told.losses(results) + stage.remains(results)
    return lost + ([f"the last server ended with exit code {code}"] if code else [])


async def run(kills: int, seed: int, folder: Path) -> list[str]:
    """The campaign, then the steps; what was lost."""
    told, began = Told(), time.monotonic()
    with Stage(folder / "campaign", *ARGUMENTS) as stage:
        done = await campaign(stage, told, kills, seed)
        lost = await audit(stage, told)
    runs = [n for line, n in stage.runs().items() if line.startswith("begin")]
    print(
        f"killed    {', '.join(f'{kind} {n} times' for kind, n in sorted(done.items()))}"
        f" in {time.monotonic() - began:.0f} s (seed {seed})\n"
        f"answered  {len(told.accepted)} accepted, {len(told.finished)} given their result\n"
        f"run       {len(runs)} images, {sum(runs) - len(runs)} runs again after a kill"
    )
    for step in kill_steps.STEPS:
        try:
            wrong = await kill_steps.take(step, folder / step.name)
        except kill_steps.CannotTraceError as error:
            print(f"step      {step.name:<11} skipped: {error}")
            continue
        print(f"step      {step.name:<11} {'LOST' if wrong else 'ok'}: {step.moment}")
        lost += wrong
    return lost


def main() -> int:
    """Read the command line; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200, help="how many (default: 200)")
    parser.add_argument("--seed", type=int, default=1, help="of the kills' kinds and moments")
    return conduct(parser, lambda given, folder: run(given.kills, given.seed, folder))


if __name__ == "__main__":
    sys.exit(main())
