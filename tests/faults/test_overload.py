"""Far more clients than the server can serve: each gets its answer, or a 429 that says when."""

import asyncio
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests import models
from tests.faults.conftest import Start
from tests.integration.requests import finished, form, picture, queued, status, submit
from tests.server_process import ServerProcess

CAT = Path("examples/cat.jpg").read_bytes()
PHOTO = {"Content-Type": "image/jpeg"}
HELD = ("--model", "tests/models.py:Obedient", "--workers", "1", "--max-batch-size", "1")


async def test_a_thousand_clients_get_their_answer_or_a_429_that_says_when(start: Start) -> None:
    server = start("--model", "tools/models.py:Slow", "--max-queue", "32").ready()
    before = _resident(server)
    replies: Counter[int] = Counter()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(server.url, connector=connector) as http:

        async def client() -> None:
            async with http.post("/predict", data=CAT, headers=PHOTO) as reply:
                body = await reply.json()
            replies[reply.status] += 1
            if reply.status == 429:
                assert body["error"] == "queue_full"
                assert 1 <= int(reply.headers["Retry-After"]) <= 10

        async with asyncio.TaskGroup() as clients:
            for _ in range(1000):
                clients.create_task(client())
        async with http.post("/predict", data=CAT, headers=PHOTO) as reply:
            assert reply.status == 200  # it is itself again
        results = (await status(http))["results"]

    assert set(replies) == {200, 429}
    assert replies.total() == 1000
    assert replies[200] >= 32
    assert results["Success"] == results["total"] == replies[200] + 1
    assert _resident(server, "VmHWM") < before + 150_000


@pytest.mark.parametrize("path", ["/predict", "/asyncPredict"])
async def test_a_full_server_refuses_by_the_head_alone(
    start: Start, tmp_path: Path, path: str
) -> None:
    limits = ("--max-queue", "1", "--max-pending", "2")
    server = start(*HELD, *limits, MODEL_FOLDER=str(tmp_path)).ready()
    async with aiohttp.ClientSession(server.url) as http, asyncio.TaskGroup() as asked:
        asked.create_task(_ask(http, path))
        await queued(http, running=1, waiting=0)
        asked.create_task(_ask(http, path))
        await queued(http, running=1, waiting=1)
        told = [
            await _first_reply(server, path, "Content-Length: 1000000"),
            await _first_reply(server, path, "Content-Length: 1000000", "Expect: 100-continue"),
        ]
        (tmp_path / "go").touch()

    for head in told:  # though none of the body was sent
        assert head.startswith("HTTP/1.1 429 "), head
        assert "\r\nRetry-After: 1\r\n" in head


async def test_bodies_that_are_refused_are_hardly_held_in_memory(
    start: Start, tmp_path: Path
) -> None:
    server = start(*HELD, "--max-queue", "1", MODEL_FOLDER=str(tmp_path)).ready()
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(server.url, connector=connector) as http,
        asyncio.TaskGroup() as asked,
    ):
        for waiting in range(2):
            asked.create_task(_ask(http, "/predict"))
            await queued(http, running=1, waiting=waiting)
        before = _resident(server)

        async def refused() -> None:
            async with http.post("/predict", data=bytes(1_000_000), headers=PHOTO) as reply:
                assert reply.status == 429

        async with asyncio.TaskGroup() as clients:
            for _ in range(300):
                clients.create_task(refused())
        (tmp_path / "go").touch()

    assert _resident(server, "VmHWM") < before + 300 * 300  # of the 1000 kB that each sends


async def test_a_server_with_room_asks_for_the_body(start: Start, tmp_path: Path) -> None:
    server = start(*HELD, MODEL_FOLDER=str(tmp_path)).ready()
    for path in ("/predict", "/asyncPredict"):
        head = await _first_reply(server, path, "Content-Length: 9", "Expect: 100-continue")
        assert head == "HTTP/1.1 100 Continue\r\n\r\n"


async def _ask(http: aiohttp.ClientSession, path: str) -> None:
    """Have an image run on which the model waits; it must end well."""
    image = picture(models.WAIT)
    if path == "/asyncPredict":
        result = await finished(http, await submit(http, image))
    else:
        async with http.post(path, data=form(image)) as reply:
            result = await reply.json()
    assert result["status"] == "Success"


async def _first_reply(server: ServerProcess, path: str, *headers: str) -> str:
    """The head of the first reply to a request whose body is never sent."""
    address = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    lines = (f"POST {path} HTTP/1.1", f"Host: {address.netloc}", "Content-Type: image/png")
    writer.write("\r\n".join([*lines, *headers, "\r\n"]).encode())
    async with asyncio.timeout(30):
        head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return head.decode()


def _resident(server: ServerProcess, which: str = "VmRSS") -> int:
    """KiB of the server's memory: now, or (VmHWM) at most."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition(f"{which}:")[2].split()[0])
