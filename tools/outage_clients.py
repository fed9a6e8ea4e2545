"""The clients of an outage: they predict, submit and delete, and ask for imports and exports."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Final

import aiohttp

from tools.outage_site import Site
from tools.outage_told import Clearing, Fate, Item, Told, moment
from tools.stage import form

BUSY: Final = {0, 409, 429, 503}
REFUSED: Final = {"remote_failed", "backup_unusable", "no_backup"}
_CLEAR_SECONDS: Final = 8
_PAUSE: Final = 0.1

Reply = tuple[int, Any]  # Any: as JSON has it


class Clients:
    """Clients that go on whatever happens to the server, until they are told to leave.

    Args:
        site: Whose server.
        told: Gets what they are told.
        dice: Decide what is deleted, and when.
        hindering: They delete all now and then, and ask for imports and exports, too.

    Attributes:
        transfers: How many imports and exports were answered how.
    """

    def __init__(self, site: Site, told: Told, dice: random.Random, *, hindering: bool) -> None:
        self._site = site
        self._told = told
        self._dice = dice
        self._works: list[Work] = [self._predict, self._predict, self._submit, self._delete]
        if hindering:
            self._works += [self._clear, self._transfer]
        self.transfers: Counter[str] = Counter()
        self.leaving = False

    async def run(self) -> None:
        """Ask until told to leave: then each has the end of its last request."""
        timeout = aiohttp.ClientTimeout(total=120)
        async with aiohttp.ClientSession(timeout=timeout) as http, asyncio.TaskGroup() as group:
            for work in self._works:
                group.create_task(self._repeat(http, work))

    async def _repeat(self, http: aiohttp.ClientSession, work: "Work") -> None:
        while not self.leaving:
            await work(http)
            await asyncio.sleep(self._dice.uniform(0, _PAUSE))

    async def _predict(self, http: aiohttp.ClientSession) -> None:
        number, asked = next(self._told.numbers), moment()
        code, body = await self._ask(http, "POST", "predict", form(number))
        if code == 200:
            self._told.items[body["request_id"]] = Item(number, asked, moment(), body)
        elif code not in BUSY:
            self._told.odd.append(f"image {number} was answered {code} {body}")

    async def _submit(self, http: aiohttp.ClientSession) -> None:
        number, asked = next(self._told.numbers), moment()
        code, body = await self._ask(http, "POST", "asyncPredict", form(number))
        if code == 200:
            self._told.items[body["request_id"]] = Item(number, asked, moment())
        elif code not in BUSY:
            self._told.odd.append(f"image {number} was answered {code} {body}")

    async def _delete(self, http: aiohttp.ClientSession) -> None:
        await asyncio.sleep(_PAUSE)
        kept = [key for key in self._told.of(Fate.KEPT) if not self._large(key)]
        if not kept:
            return
        key = self._dice.choice(sorted(kept))
        item = self._told.items[key]
        item.deletion = Fate.EITHER
        code, body = await self._ask(http, "DELETE", f"delete/{key}")
        if code == 200:
            item.deletion = Fate.GONE
        elif code in BUSY - {0}:
            item.deletion = Fate.KEPT
        elif code:
            item.deletion = Fate.KEPT
            if self._told.fate(key) is Fate.KEPT:
                self._told.odd.append(f"deleting {key} was answered {code} {body}")

    async def _clear(self, http: aiohttp.ClientSession) -> None:
        await self._sleep(self._dice.uniform(0.5, 1.5) * _CLEAR_SECONDS)
        clearing = Clearing(moment())
        self._told.clearings.append(clearing)
        code, _ = await self._ask(http, "DELETE", "deleteAll")
        clearing.over, clearing.answered = moment(), code == 200
        if code in BUSY - {0}:
            self._told.clearings.remove(clearing)

    async def _transfer(self, http: aiohttp.ClientSession) -> None:
        what = self._dice.choice(["import", "export"])
        code, body = await self._ask(http, "POST", what)
        if code and code != 200 and code not in BUSY and body.get("error") not in REFUSED:
            self._told.odd.append(f"the {what} was answered {code} {body}")
        known = body.get("error", "done") if body else "no answer"
        self.transfers[f"{what} {known}"] += 1

    async def _ask(
        self, http: aiohttp.ClientSession, method: str, path: str, data: Any = None
    ) -> Reply:
        """The reply; 0: there was none, and nothing can be held against the server."""
        with contextlib.suppress(aiohttp.ClientError):
            url = f"{self._site.server.url}/{path}"
            async with http.request(method, url, data=data) as reply:
                return reply.status, await reply.json()
        return 0, None

    async def _sleep(self, seconds: float) -> None:
        end = moment() + seconds
        while not self.leaving and moment() < end:  # noqa: ASYNC110 - whichever is first
            await asyncio.sleep(_PAUSE)

    def _large(self, key: str) -> bool:
        return self._told.items[key].number >= 2**23


Work = Callable[[aiohttp.ClientSession], Awaitable[None]]


@contextlib.asynccontextmanager
async def clients(
    site: Site, told: Told, dice: random.Random, *, hindering: bool
) -> AsyncIterator[Clients]:
    """Clients, for as long as the context lasts."""
    found = Clients(site, told, dice, hindering=hindering)
    task = asyncio.create_task(found.run())
    try:
        yield found
        found.leaving = True
        await task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def predict(site: Site, told: Told, numbers: Iterable[int]) -> None:
    """Have these images predicted, a few at a time.

    Raises:
        aiohttp.ClientError: The server was killed.
    """
    left = iter(numbers)

    async def ask(http: aiohttp.ClientSession) -> None:
        for number in left:
            asked = moment()
            async with http.post("/predict", data=form(number)) as reply:
                reply.raise_for_status()
                body = await reply.json()
            told.items[body["request_id"]] = Item(number, asked, moment(), body)

    async with aiohttp.ClientSession(site.server.url) as http:
        await asyncio.gather(*(ask(http) for _ in range(4)))
