"""SIGTERM under load: what was begun is answered, what was accepted is done, all of it once."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.integration.conftest import Start
from tests.integration.requests import finished, form, picture, status

SLOW = ("--model", "tests/models.py:Slow", "--workers", "2")
BLOCKING, SUBMITTING, ACCEPTED = 30, 6, 200


@dataclass
class Crowd:
    """Clients that each ask for one image after the other, until the server takes no more.

    Attributes:
        predicted: Results that blocking clients got.
        accepted: Ids that the others got.
        refused: What the last request of each met: the error's code, or its class.
    """

    predicted: dict[str, Any] = field(default_factory=dict)
    accepted: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)

    async def predict(self, http: aiohttp.ClientSession) -> bool:
        """Whether a blocking predict was answered; else it was refused."""
        body = await self._post(http, "/predict")
        if body:
            self.predicted[body["request_id"]] = body
        return body is not None

    async def submit(self, http: aiohttp.ClientSession) -> bool:
        """Whether an async predict was accepted; else it was refused."""
        body = await self._post(http, "/asyncPredict")
        if body:
            self.accepted.append(body["request_id"])
        return body is not None

    async def _post(self, http: aiohttp.ClientSession, path: str) -> dict[str, Any] | None:
        number = next(self._numbers)
        image = picture((number >> 8, number & 255, 1))
        try:
            async with http.post(path, data=form(image)) as reply:
                body: dict[str, Any] = await reply.json()
        except aiohttp.ClientError as error:
            self.refused.append(type(error).__name__)
            return None
        if reply.status == 200:
            return body
        assert reply.status == 503, body
        self.refused.append(body["error"])
        return None


@pytest.mark.parametrize("keeps", [True, False], ids=["kept connections", "new connections"])
async def test_sigterm_under_load_answers_what_was_begun_and_loses_nothing_accepted(
    start: Start, tmp_path: Path, keeps: bool
) -> None:
    server = start(*SLOW, MODEL_FOLDER=str(tmp_path)).ready()
    crowd = Crowd()
    connector = aiohttp.TCPConnector(limit=0, force_close=not keeps)
    async with aiohttp.ClientSession(server.url, connector=connector) as http:
        async with asyncio.TaskGroup() as clients:
            for work in [crowd.predict] * BLOCKING + [crowd.submit] * SUBMITTING:
                clients.create_task(_repeat(work, http))
            await _loaded(http, crowd)
            server.process.send_signal(signal.SIGTERM)
    assert len(crowd.refused) == BLOCKING + SUBMITTING
    assert set(crowd.refused) <= {"not_ready", "ClientConnectorError"}  # none was cut off
    assert await asyncio.to_thread(server.wait) == 0, server.log
    assert "grace time is over" not in server.log

    async with aiohttp.ClientSession(start(*SLOW, MODEL_FOLDER=str(tmp_path)).ready().url) as http:
        results = [await finished(http, request_id) for request_id in crowd.accepted]
        async with http.get("/predictResults") as reply:
            listed = {each["request_id"]: each for each in await reply.json()}
    assert {result["status"] for result in results} == {"Success"}
    assert {each: listed[each] for each in crowd.predicted} == crowd.predicted
    assert listed.keys() == crowd.predicted.keys() | set(crowd.accepted)  # no work without answer
    begun = (tmp_path / "begun").read_text().splitlines()
    assert len(begun) == len(set(begun)) == len(listed)  # no image was run twice


async def _repeat(
    work: Callable[[aiohttp.ClientSession], Awaitable[bool]], http: aiohttp.ClientSession
) -> None:
    while await work(http):
        pass


async def _loaded(http: aiohttp.ClientSession, crowd: Crowd) -> None:
    """Ask for the status until the server is full of work, and still takes more."""
    async with asyncio.timeout(60):
        while True:
            queue = (await status(http))["queue"]
            if len(crowd.accepted) >= ACCEPTED and queue["running"] + queue["waiting"] >= BLOCKING:
                return
            await asyncio.sleep(0.01)
