"""One kill -9 at each step of an export and of an import."""

import asyncio
import contextlib
import re
from typing import Final, NamedTuple

import aiohttp

from tools.load import Server, until
from tools.outage_clients import predict
from tools.outage_model import LARGE
from tools.outage_site import Site, end
from tools.outage_told import Told
from tools.s3_proxy import Moment

LARGE_RESULTS: Final = 560
"""How many large results make a snapshot that is sent in two parts."""

_STEP_SECONDS: Final = 60


class Step(NamedTuple):
    """A request to the store that the server sends, and how far it is when the server is killed.

    Attributes:
        action: What the server is asked for: predict, export, import, or restore: the import at
            the start of a server that has nothing.
        name: What the request does.
        request: Matches its method and target.
        moment: Where the kill comes.
        nth: Of the requests that match, which.
    """

    action: str
    name: str
    request: str
    moment: Moment
    nth: int = 1

    def matches(self, line: str) -> bool:
        """Whether it is such a request."""
        return bool(re.match(self.request, line))


_BEFORE_AFTER: Final = (Moment.ARRIVED, Moment.DONE, Moment.ANSWERED)
_READ: Final = (Moment.ARRIVED, Moment.MIDWAY, Moment.ANSWERED)
_GROUP: Final = r"/changes/[^?]*"
_SNAPSHOT: Final = r"/snapshot/[^?]*"
_MANIFEST: Final = r"/MANIFEST\.json"
_WHERE: Final[tuple[tuple[str, str, str, int, tuple[Moment, ...]], ...]] = (
    ("predict", "group written", rf"PUT .*{_GROUP}", 1, _BEFORE_AFTER),
    ("export", "upload begun", rf"POST .*{_SNAPSHOT}\?uploads", 1, _BEFORE_AFTER),
    ("export", "first part", rf"PUT .*{_SNAPSHOT}\?.*partNumber=1\b", 1, _BEFORE_AFTER),
    ("export", "last part", rf"PUT .*{_SNAPSHOT}\?.*partNumber=2\b", 1, _BEFORE_AFTER),
    ("export", "upload completed", rf"POST .*{_SNAPSHOT}\?uploadId", 1, _BEFORE_AFTER),
    ("export", "snapshot looked at", rf"HEAD .*{_SNAPSHOT}", 1, (Moment.DONE,)),
    ("export", "manifest read", rf"GET .*{_MANIFEST}", 1, (Moment.DONE,)),
    ("export", "manifest written", rf"PUT .*{_MANIFEST}", 1, _BEFORE_AFTER),
    ("export", "changes listed", r"GET .*list-type=2.*changes", 1, (Moment.DONE,)),
    ("export", "changes removed", r"POST .*\?delete", 1, _BEFORE_AFTER),
    ("export", "snapshots listed", r"GET .*list-type=2.*snapshot", 1, (Moment.DONE,)),
    ("export", "snapshot removed", r"POST .*\?delete", 2, _BEFORE_AFTER),
    *(
        step
        for action in ("import", "restore")
        for step in (
            (action, "manifest read", rf"GET .*{_MANIFEST}", 1, (Moment.DONE,)),
            (action, "changes listed", r"GET .*list-type=2.*changes", 1, (Moment.DONE,)),
            (action, "manifest read again", rf"GET .*{_MANIFEST}", 2, (Moment.ANSWERED,)),
            (action, "snapshot read", rf"GET .*{_SNAPSHOT}", 1, _READ),
            (action, "first group read", rf"GET .*{_GROUP}", 1, _READ),
            (action, "second group read", rf"GET .*{_GROUP}", 2, (Moment.ANSWERED,)),
        )
    ),
)
STEPS: Final = tuple(
    Step(action, name, request, moment, nth)
    for action, name, request, nth, moments in _WHERE
    for moment in moments
)


class _Trap:
    """Kills a server, with its workers, when a request comes to a step."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._left = step.nth
        self.server: Server | None = None
        self.sprung = False

    async def __call__(self, moment: Moment, line: str) -> None:
        step = self._step
        if not self.server or moment is not step.moment or not step.matches(line):
            return
        self._left -= 1
        if self._left or self.sprung:
            return
        self.sprung = True
        self.server.kill_group()
        if moment is Moment.ARRIVED:  # so that the store does not get it
            raise ConnectionResetError

    async def wait(self) -> None:
        """Wait until the server is killed."""
        await until(lambda: self.sprung, f"the step {self._step}", _STEP_SECONDS)


async def fill(site: Site, told: Told) -> None:
    """Have large results, so that snapshots are large, too."""
    await site.server.ready()
    await predict(site, told, range(LARGE, LARGE + LARGE_RESULTS))


async def take(site: Site, told: Told, step: Step) -> list[str]:
    """Kill at a step and start again; what is wrong then, here and on the remote.

    Raises:
        LoadError: The server does not come to the step.
    """
    await prepare(site, told, step)
    trap = site.proxy.watcher = _Trap(step)
    try:
        if step.action == "restore":
            return await _restore(site, trap)
        trap.server = site.server
        asking = asyncio.create_task(ask(site, told, step.action))
        await trap.wait()
        await site.server.gone()
        await asking
    finally:
        site.proxy.watcher = nobody
    site.launch()
    wrong = await site.present(told)
    if step.action != "import":  # that writes nothing there; and the next export would mend it
        await site.backed_up()
        wrong += await site.compare(site.new_folder())
    return wrong


async def prepare(site: Site, told: Told, step: Step) -> None:
    """Have what the step works on; nothing else goes on then."""
    await site.backed_up()
    if step.name == "snapshot removed":  # one that this very server made
        await site.ask("export")
    if step.action == "export" or "/changes/" in step.request:
        for _ in range(2):
            await ask(site, told, "predict")
            await site.backed_up()


async def ask(site: Site, told: Told, action: str) -> None:
    """Predict, import or export; the server may be killed meanwhile."""
    if action != "predict":
        await site.ask(action)
        return
    number = next(told.numbers)
    with contextlib.suppress(aiohttp.ClientError):
        await predict(site, told, [number])


async def _restore(site: Site, trap: _Trap) -> list[str]:
    """Kill a server that begins with nothing, and see that the next one there has all."""
    folder = site.new_folder()
    server = trap.server = site.beside(folder)
    try:
        await trap.wait()
        await server.gone()
        return await site.compare(folder)
    finally:
        end(server)


async def nobody(_: Moment, __: str) -> None:
    """Nobody watches."""
