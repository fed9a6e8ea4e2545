"""The stage of a kill: a data directory, the servers on it one after the other, what is left."""

import asyncio
import contextlib
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import aiohttp

from tools.load import MODELS, SECONDS, LoadError, Server, picture, status

OWN_FILES = {"predictions.db", "server.lock", "images", "backup"}
"""All that a server which ended well leaves in its data directory."""

Result = Mapping[str, Any]  # Any: as JSON has it


class Stage:
    """Servers on one data directory, with a model that writes down what it runs.

    A context: at its end, the server that is still there is killed.

    Args:
        folder: Gets the data directory, the model's ledger and the log.
        arguments: More of the servers' command line.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.data = folder / "data"
        self._arguments = ["--model", f"{MODELS}:Ledger", *arguments]
        self.server = self.launch()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.server.kill_group()

    def launch(self) -> Server:
        """Start the next server."""
        environment = {"LEDGER": str(self.folder)}
        self.server = Server(self.data, self._arguments, self.folder / "log", environment)
        return self.server

    async def calm(self) -> None:
        """Wait until nothing is Pending any more that is now.

        Raises:
            LoadError: It takes too long.
        """
        since = time.time()
        await self._until(lambda oldest, _: oldest is None or oldest > since)

    async def rest(self) -> None:
        """Wait until nothing is Pending, once the clients have left.

        Raises:
            LoadError: It takes too long.
        """
        await self._until(lambda _, pending: not pending)

    async def _until(self, holds: Callable[[float | None, float], bool]) -> None:
        """Ask until something holds of the moment the oldest that is Pending came, and how many."""
        server = await self.server.ready()
        async with aiohttp.ClientSession(server.url) as http:
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                moment = time.time()
                try:
                    pending = (await status(http))["pending"]
                except aiohttp.ClientError as error:
                    raise self.dead() from error
                age = pending["oldest_age"]
                if holds(None if age is None else moment - age, pending["count"]):
                    return
                await asyncio.sleep(0.02)
        raise LoadError(f"what is Pending still is after {SECONDS} s")

    def dead(self) -> LoadError:
        """What there is to say of a server that ended though nobody killed it."""
        return LoadError(f"the server ended by itself:\n{self.server.log}")

    async def results(self) -> dict[str, Result]:
        """Every result, by its request id."""
        server = await self.server.ready()
        async with aiohttp.ClientSession(server.url) as http, http.get("/predictResults") as reply:
            results: list[Result] = await reply.json()
        if len(found := {result["request_id"]: result for result in results}) != len(results):
            raise LoadError("a request id stands in the list of results twice")
        return found

    def runs(self) -> Counter[str]:
        """How often the model began and ended which image: "begin 7", "end 7"."""
        path = self.folder / "ledger"
        return Counter(path.read_text().splitlines() if path.exists() else ())

    def remains(self, results: Mapping[str, Result]) -> list[str]:
        """What is wrong on the disk after the server ended well, given the results it told."""
        names = {path.name for path in self.data.iterdir()} - OWN_FILES  # before we open it
        with contextlib.closing(sqlite3.connect(self.data / "predictions.db")) as db:
            checked = [row[0] for row in db.execute("PRAGMA integrity_check")]
            uploads = db.execute("SELECT count(*) FROM images").fetchone()[0]
        wrong = [f"integrity_check: {line}" for line in checked if line != "ok"]
        if uploads:
            wrong.append(f"{uploads} uploads are kept though nothing is Pending")
        wrong += [f"{name} is left in the data directory" for name in sorted(names)]
        return wrong + self._wrong_images(results)

    def _wrong_images(self, results: Mapping[str, Result]) -> list[str]:
        """Every image that was to be saved is, and no other."""
        folder = self.data / "images"
        found = {path.name for path in folder.iterdir()} if folder.exists() else set()
        wrong = [f"images/{name} belongs to no result" for name in sorted(found - results.keys())]
        for key, result in results.items():
            number = number_of(result)
            file = folder / key / f"{number}.png"
            if saves(number) and not (file.exists() and file.read_bytes() == picture(number)):
                wrong.append(f"the saved image of {key} is missing or not what was sent")
        return wrong


def form(number: int) -> aiohttp.FormData:
    """The upload of an image that says its number, and, now and then, that it is to be saved."""
    body = aiohttp.FormData({"save_locally": str(saves(number)).lower()})
    body.add_field("image", picture(number), filename=f"{number}.png")
    return body


def saves(number: int) -> bool:
    """Whether the image of that number is sent with `save_locally`."""
    return number % 10 == 0


def number_of(result: Result) -> int:
    """The number of the image that a Success was run on: its file name's. 1 for a Fail."""
    response = result["response"]
    return int(response["image"].removesuffix(".png")) if isinstance(response, dict) else 1
