"""A clock that jumps: what was accepted still runs, and no time is measured with it."""

import asyncio
import subprocess
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests import models
from tests.faults.disks import needed
from tests.integration.conftest import Start
from tests.integration.requests import finished, form, picture, queued, status, submit

OBEDIENT = ("--model", "tests/models.py:Obedient")
FINE, HANG, WAIT = map(picture, (models.FINE, models.HANG, models.WAIT))
SLEEP = """
import select, time
time.sleep = lambda seconds: select.select([], [], [], seconds)  # faketime breaks the real one
"""
ONE_SECOND = {"Prefer": "wait=1"}
HOUR = timedelta(hours=1)


class Clock:
    """The wall clock of the processes that have its environment; time goes on in them."""

    def __init__(self, file: Path) -> None:
        asked = [needed("faketime"), "-m", "-f", "+0", "printenv", "LD_PRELOAD"]
        library = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
        self._file = file
        self.environment = {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "PYTHONPATH": str(file.parent),
        }
        (file.parent / "sitecustomize.py").write_text(SLEEP)
        self.jump("+0")

    def jump(self, to: str) -> None:
        """Set the clock to so much before or after the real time."""
        new = self._file.with_suffix(".new")
        new.write_text(to)
        new.replace(self._file)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def everything(http: aiohttp.ClientSession, limit: int | None = None) -> list[dict[str, Any]]:
    """The list of results, whole or page by page."""
    found: list[dict[str, Any]] = []
    url = f"/predictResults?limit={limit}" if limit else "/predictResults"
    while url:
        async with http.get(url) as reply:
            found += await reply.json()
            url = str(reply.links["next"]["url"]) if "next" in reply.links else ""
    return found


async def test_what_was_accepted_runs_whatever_the_clock_says(
    start: Start, clock: Clock, tmp_path: Path
) -> None:
    arguments = (*OBEDIENT, "--workers", "1", "--keep-results", "1d")
    server = start(*arguments, MODEL_FOLDER=str(tmp_path), **clock.environment).ready()
    ids: list[str] = []
    async with aiohttp.ClientSession(server.url) as http:
        for jump in ("+0", "+1h", "-1h", "+0"):
            clock.jump(jump)
            ids += [await submit(http, data) for data in (WAIT, FINE, FINE)]
        clock.jump("-1h")
        (tmp_path / "go").touch()
        results = {each: await finished(http, each) for each in ids}
        whole = await everything(http)
        pages = await everything(http, limit=5)
    assert server.stop() == 0
    assert "Traceback" not in server.log

    assert [result["status"] for result in results.values()] == ["Success"] * 12
    for result in results.values():
        assert moment(result["completedAt"]) >= moment(result["createdAt"])
        assert result["timings"]["queued"] >= 0
    created = [moment(results[each]["createdAt"]) for each in ids]
    assert created[3] - created[0] > HOUR * 0.9
    assert created[0] - created[6] > HOUR * 0.9
    assert whole == pages
    assert sorted(result["request_id"] for result in whole) == sorted(ids)
    listed = [moment(result["createdAt"]) for result in whole]
    assert listed == sorted(listed, reverse=True)


@pytest.mark.parametrize(("runner", "jump"), [("process", "+1h"), ("thread", "-1h")])
async def test_timeouts_and_waits_take_as_long_as_they_say(
    start: Start, clock: Clock, tmp_path: Path, runner: str, jump: str
) -> None:
    arguments = (*OBEDIENT, "--workers", "2", "--predict-timeout", "2", "--runner", runner)
    server = start(*arguments, MODEL_FOLDER=str(tmp_path), **clock.environment).ready()
    async with aiohttp.ClientSession(server.url) as http:
        accepted = await submit(http, WAIT)
        began = time.monotonic()
        hanging = asyncio.create_task(http.post("/predict", data=form(HANG)))
        waiting = asyncio.create_task(http.get(f"/predictResults/{accepted}", headers=ONE_SECOND))
        await queued(http, running=2)
        clock.jump(jump)
        report = await status(http)
        assert not hanging.done()
        assert not waiting.done()
        async with await waiting as reply:
            assert (await reply.json())["status"] == "Pending"
        assert time.monotonic() - began >= 1
        async with await hanging as reply:
            assert (reply.status, (await reply.json())["error"]) == (504, "predict_timeout")
        assert 2 <= time.monotonic() - began < 15
        (tmp_path / "go").touch()
        assert (await finished(http, accepted))["status"] == "Success"
    assert server.stop() == 0
    assert 0 < report["uptime"] < 60
    assert report["pending"]["oldest_age"] >= 0
