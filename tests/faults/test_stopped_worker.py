"""Stopped processes: a worker that stands still costs its own image some time, and no other one."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from tests import models
from tests.integration.conftest import Start
from tests.integration.requests import finished, form, picture, status, submit
from tests.server_process import ServerProcess

FINE, WAIT = picture(models.FINE), picture(models.WAIT)
LARGE = FINE + bytes(1_000_000)  # more than a socket holds; decoders stop at the picture's end
TIMEOUT = 1.0

MODEL = f"""
import os
from pathlib import Path
from time import sleep

FOLDER = Path(os.environ["MODEL_FOLDER"])

class Holder:
    '''Holds images of one colour until it may go, and says which process holds them.'''

    def load(self):
        pass

    def predict(self, images):
        if any(image.getpixel((0, 0)) == {models.WAIT} for image in images):
            (FOLDER / "new").write_text(str(os.getpid()))
            (FOLDER / "new").rename(FOLDER / "holder")
            while not (FOLDER / "go").exists():
                sleep(0.005)
        return [{{"label": "held", "confidence": 1.0}} for _ in images]
"""


@pytest.fixture
def held(start: Start, tmp_path: Path) -> Callable[..., ServerProcess]:
    """Starts a server whose model holds images; its files are in `tmp_path`."""
    (tmp_path / "model.py").write_text(MODEL)

    def start_one(*arguments: str) -> ServerProcess:
        model = f"{tmp_path / 'model.py'}:Holder"
        timeout = ("--predict-timeout", str(TIMEOUT))
        return start("--model", model, *timeout, *arguments, MODEL_FOLDER=str(tmp_path)).ready()

    return start_one


async def holder(folder: Path) -> int:
    """The process that holds an image."""
    async with asyncio.timeout(20):
        while not (folder / "holder").exists():
            await asyncio.sleep(0.005)
    return int((folder / "holder").read_text())


async def stopped(pid: int) -> None:
    """Stop a process, and wait until it stands still."""
    os.kill(pid, signal.SIGSTOP)
    async with asyncio.timeout(10):
        while ") T " not in Path(f"/proc/{pid}/stat").read_text():
            await asyncio.sleep(0.001)


async def predict(http: aiohttp.ClientSession, data: bytes = FINE) -> int:
    async with http.post("/predict", data=form(data)) as reply:
        return reply.status


async def workers(http: aiohttp.ClientSession) -> tuple[int, int]:
    """How many are alive, and how many were started in place of another."""
    found = (await status(http))["workers"]
    return found["alive"], found["restarts"]


async def test_an_accepted_image_outlives_the_worker_that_stands_still_with_it(
    held: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    server = held("--workers", "2")
    async with aiohttp.ClientSession(server.url) as http:
        began = time.monotonic()
        request_id = await submit(http, WAIT)
        pid = await holder(tmp_path)
        assert pid in server.children()
        await stopped(pid)
        (tmp_path / "go").touch()
        others = 0
        while Path(f"/proc/{pid}").exists():
            assert await predict(http) == 200  # by the other worker, meanwhile
            others += 1
        assert others > 3
        assert time.monotonic() - began >= TIMEOUT
        assert (await finished(http, request_id))["status"] == "Success"
        async with asyncio.timeout(10):
            while await workers(http) != (2, 1):
                await asyncio.sleep(0.01)
    assert pid not in server.children()
    assert "is lost: The model did not answer within 1 s" in server.log
    assert server.stop() == 0


async def test_a_client_that_waits_for_it_is_told(
    held: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    server = held("--workers", "1")
    async with aiohttp.ClientSession(server.url) as http:
        waiting = asyncio.create_task(http.post("/predict", data=form(WAIT)))
        await stopped(await holder(tmp_path))
        async with await waiting as reply:
            answer = await reply.json()
        assert (reply.status, answer["error"]) == (504, "predict_timeout")
        async with http.get(f"/predictResults/{answer['request_id']}") as reply:
            assert (await reply.json())["status"] == "Fail"
        assert await predict(http) == 200
        assert await workers(http) == (1, 1)


async def test_an_image_that_does_not_fit_the_pipe_outlives_a_worker_that_stands_still(
    held: Callable[..., ServerProcess],
) -> None:
    server = held("--workers", "1")
    async with aiohttp.ClientSession(server.url) as http:
        await stopped(*server.children())
        request_id = await submit(http, LARGE)
        assert (await finished(http, request_id))["status"] == "Success"
        assert await workers(http) == (1, 1)


async def test_a_server_that_stood_still_goes_on(
    held: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    server = held("--workers", "1", "--predict-timeout", "60")
    async with aiohttp.ClientSession(server.url) as http:
        accepted = await submit(http, WAIT)
        await holder(tmp_path)
        asked = [asyncio.create_task(predict(http)) for _ in range(3)]
        await stopped(server.process.pid)
        asked += [asyncio.create_task(predict(http)) for _ in range(3)]
        (tmp_path / "go").touch()
        await asyncio.wait(asked, timeout=0.2)
        assert not any(each.done() for each in asked)
        server.process.send_signal(signal.SIGCONT)
        assert await asyncio.gather(*asked) == [200] * 6
        assert (await finished(http, accepted))["status"] == "Success"
        assert await workers(http) == (1, 0)
    assert server.stop() == 0
