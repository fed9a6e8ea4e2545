"""One kill -9 at each write of the store that an import or export causes."""

import asyncio
import contextlib
from typing import Final, NamedTuple

import aiohttp

from tools import outage_steps
from tools.kill_steps import killed_at
from tools.load import SECONDS
from tools.outage_site import Site
from tools.outage_steps import Step
from tools.outage_told import Told
from tools.s3_proxy import Moment


class Commits(NamedTuple):
    """The writes that follow a request to the store.

    Attributes:
        step: The request, and how far it is when the counting begins.
        call: The system call that is counted.
        growth: By how much more the server is let do from one kill to the next.
    """

    step: Step
    call: str
    growth: float


_GROUP = Step("predict", "group recorded", r"PUT .*/changes/", Moment.DONE)
_SNAPSHOT = Step("export", "snapshot recorded", r"HEAD .*/snapshot/", Moment.DONE)
_READ = Step("import", "snapshot gathered", r"GET .*/MANIFEST", Moment.DONE, 2)
_LAST = Step("import", "last group gathered, all swapped in", r"GET .*/changes/", Moment.DONE, 2)

SWAP: Final = Commits(_LAST, "fdatasync", 1)

ALL: Final = (
    Commits(_GROUP, "fdatasync", 1),
    Commits(_GROUP, "pwrite64", 1.5),
    Commits(_SNAPSHOT, "fdatasync", 1),
    Commits(_SNAPSHOT, "pwrite64", 1.5),
    Commits(_READ, "fdatasync", 1.6),
    Commits(_READ, "pwrite64", 2),
    SWAP,
    Commits(_LAST, "pwrite64", 1.3),
)


class _Gate:
    """Holds a request at a step until it is opened."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._left = step.nth
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self, moment: Moment, line: str) -> None:
        if moment is self._step.moment and self._step.matches(line):
            self._left -= 1
            if not self._left:
                self.reached.set()
                await self.opened.wait()


async def sweep(site: Site, told: Told, commits: Commits, most: int) -> tuple[int, list[str]]:
    """Kill at the first of the calls, then later and later, until there are no more.

    Returns:
        How many kills there were, and what was wrong after them.

    Raises:
        CannotTraceError: This machine does not allow it.
    """
    wrong: list[str] = []
    when = 1.0
    for kills in range(most):
        survived = await _kill(site, told, commits, int(when))
        site.launch()
        wrong += await site.present(told)
        if survived:
            return kills, wrong
        when = max(when + 1, when * commits.growth)
    return most, wrong


async def _kill(site: Site, told: Told, commits: Commits, when: int) -> bool:
    """Kill at a call, or at the end if there are not so many; whether it came to that end."""
    if commits.step.action == "import":
        await site.ask("export")  # so that the groups are two
    await outage_steps.prepare(site, told, commits.step)
    gate = site.proxy.watcher = _Gate(commits.step)
    asking = asyncio.create_task(_survives(site, told, commits.step.action))
    try:
        await asyncio.wait_for(gate.reached.wait(), SECONDS)
        async with killed_at(site.server, commits.call, when):
            gate.opened.set()
            survived = await asking
            site.server.kill_group()
    finally:
        gate.opened.set()
        site.proxy.watcher = outage_steps.nobody
    await site.server.gone()
    return survived


async def _survives(site: Site, told: Told, action: str) -> bool:
    """Whether the server lives until what it was asked for is done."""
    if action != "predict":
        return (await site.ask(action))[0] != 0
    await outage_steps.ask(site, told, action)
    with contextlib.suppress(aiohttp.ClientError):
        await site.backed_up()
        return True
    return False
