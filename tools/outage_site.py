"""The site of an outage: a server, the proxy and the S3 server behind it, and what each holds."""

import asyncio
import contextlib
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, Final

import aiohttp

from tools.load import LoadError, Server, status
from tools.outage_told import Told
from tools.s3_proxy import Fault, S3Proxy
from tools.s3_server import S3Server
from tools.stage import Result

BUCKET: Final = "outage"
REMOTE: Final = f"s3://{BUCKET}/results"
REST_SECONDS: Final = 180
"""How long a server may take to bring all to a remote that works again: it waits up to a minute
between two tries, and up to half a minute for an answer that does not come."""

_RECORD: Final = (
    "request_id, status, created_at, CAST(response AS TEXT), error, completed_at, model,"
    " queued_ms, decode_ms, predict_ms"
)
Record = tuple[Any, ...]  # Any: as SQLite has them


class Site:
    """Servers on one data directory, one after the other, that back up through the proxy.

    Args:
        folder: Gets the data directories and the logs.
        s3: Where the bucket is.
        proxy: Before it.
        arguments: More of the servers' command line.

    Attributes:
        server: The present one.
        started: How many there were.
    """

    def __init__(self, folder: Path, s3: S3Server, proxy: S3Proxy, *arguments: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.s3 = s3
        self.proxy = proxy
        self._arguments = ("--model", "tools.outage_model:Verbose", "--remote", REMOTE, *arguments)
        self._fresh = count(1)
        self.started = 0
        self.server = self.launch()

    def launch(self) -> Server:
        """Start the next server."""
        self.started += 1
        self.server = self.beside(self.data)
        return self.server

    def beside(self, data: Path) -> Server:
        """Start a server on another data directory."""
        environment = {**self.s3.environment, "AWS_ENDPOINT_URL": self.proxy.endpoint}
        return Server(data, self._arguments, self.folder / f"{data.name}.log", environment)

    def new_folder(self) -> Path:
        """A data directory that nobody had."""
        return self.folder / f"fresh-{next(self._fresh)}"

    async def kill(self) -> None:
        """`kill -9` the server and its workers, see what is there, and start the next one."""
        self.server.kill_group()
        await self.server.gone()
        self.launch()

    def calm(self) -> None:
        """Let nothing go wrong any more."""
        self.proxy.fault = None
        self.proxy.inject(Fault.HTML, times=0)

    async def present(self, told: Told) -> list[str]:
        """What is wrong with what a server that was just started has, while clients go on."""
        await self.server.ready()
        with contextlib.closing(sqlite3.connect(_read_only(self.data), uri=True)) as db:
            there = {key for (key,) in db.execute("SELECT request_id FROM predictions")}
            half = db.execute("SELECT name FROM sqlite_schema WHERE name = 'imported'").fetchall()
        return told.missing(there) + ["a table of a killed import is left"] * len(half)

    async def rest(self, told: Told) -> list[str]:
        """With the clients gone: wait until all is backed up, and compare; what is wrong.

        The server is stopped for that, and another one started at the end.

        Raises:
            LoadError: It is not backed up in time.
        """
        self.calm()
        await self.server.ready()
        await self._backed_up()
        results = await self._results()
        code, answer = await self.ask("import")
        wrong = told.losses(results)
        if code != 200:
            wrong.append(f"an import with nothing wrong was answered {code} {answer}")
        elif await self._results() != results:
            wrong.append("an import of all that is there changed it")
        wrong += await _ended(self.server) + _unsound(self.data)
        wrong += await self.compare(self.new_folder())
        self.launch()
        return wrong

    async def compare(self, fresh: Path) -> list[str]:
        """What a server that restores the backup, there, has and ours has not; or the reverse."""
        server = self.beside(fresh)
        try:
            await server.ready()
            wrong = await _ended(server) + _unsound(fresh)
        finally:
            end(server)
        here, there = records(self.data), records(fresh)
        wrong += [
            f"{key}: here {str(here.get(key))[:300]}, restored {str(there.get(key))[:300]}"
            for key in here.keys() | there.keys()
            if here.get(key) != there.get(key)
        ]
        if not wrong:
            shutil.rmtree(fresh)
        return wrong

    async def ask(self, what: str) -> tuple[int, Any]:  # Any: as JSON has it
        """Import or export, and wait for its end; 0: the server left without a word."""
        with contextlib.suppress(aiohttp.ClientError):
            timeout = aiohttp.ClientTimeout(total=REST_SECONDS)
            async with (
                aiohttp.ClientSession(timeout=timeout) as http,
                http.post(f"{self.server.url}/{what}") as reply,
            ):
                return reply.status, await reply.json()
        return 0, None

    async def _results(self) -> Mapping[str, Result]:
        async with (
            aiohttp.ClientSession(self.server.url) as http,
            http.get("/predictResults") as reply,
        ):
            return {result["request_id"]: result for result in await reply.json()}

    async def _backed_up(self) -> None:
        end = time.monotonic() + REST_SECONDS
        async with aiohttp.ClientSession(self.server.url) as http:
            while True:
                figures = await status(http)
                if not (figures["pending"]["count"] or figures["backup"]["waiting"]):
                    return
                if time.monotonic() > end:
                    raise LoadError(f"after {REST_SECONDS} s, this is not backed up: {figures}")
                await asyncio.sleep(0.05)

    async def backed_up(self) -> None:
        """Wait until nothing is Pending and the remote has all.

        Raises:
            LoadError: It takes too long.
        """
        await self.server.ready()
        await self._backed_up()


@contextlib.asynccontextmanager
async def opened(folder: Path, *arguments: str) -> AsyncIterator[Site]:
    """A site of its own; at its end, nothing of it runs any more."""
    with contextlib.ExitStack() as stack:
        s3 = await asyncio.to_thread(_s3, folder, stack)
        async with S3Proxy(s3.port) as proxy:
            site = Site(folder, s3, proxy, *arguments)
            try:
                yield site
            finally:
                end(site.server)


def _s3(folder: Path, stack: contextlib.ExitStack) -> S3Server:
    home = folder / "s3"
    home.mkdir(parents=True)
    s3 = stack.enter_context(S3Server(home))
    s3.make_bucket(BUCKET)
    return s3


def records(data: Path) -> dict[str, Record]:
    """Every result of a database, whole, by its request id."""
    with contextlib.closing(sqlite3.connect(_read_only(data), uri=True)) as db:
        return {row[0]: row for row in db.execute(f"SELECT {_RECORD} FROM predictions")}  # noqa: S608 - fixed


def _unsound(data: Path) -> list[str]:
    """What is wrong with a database whose server has ended."""
    with contextlib.closing(sqlite3.connect(_read_only(data), uri=True)) as db:
        checked = [line for (line,) in db.execute("PRAGMA integrity_check")]
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema")}
    wrong = [f"integrity_check: {line}" for line in checked if line != "ok"]
    return wrong + ["half an import is left"] * ("imported" in tables)


def _read_only(data: Path) -> str:
    return f"{(data / 'predictions.db').absolute().as_uri()}?mode=ro"


def end(server: Server) -> None:
    """Kill a server, if it is still there."""
    with contextlib.suppress(ProcessLookupError):
        server.kill_group()
    server.process.wait()


async def _ended(server: Server) -> list[str]:
    code = await server.stop()
    return [f"a server that was told to stop ended with {code}:\n{server.log}"] if code else []
