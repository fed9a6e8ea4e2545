"""Far more connections than requests: all end in time, and whoever has a request gets in."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

from server.web.admission import SPARED_SECONDS
from tests.integration.conftest import Start
from tests.integration.requests import form, picture
from tests.integration.test_deadlines import GET, MODEL, Connect, connect, sockets
from tests.models import FINE, WAIT
from tests.unit.web.test_upload import IN_TIME, Client, Reply
from tools.visitors import Crowd, kinds

__all__ = ["connect"]  # a fixture

SPARE_SECONDS = 3.0
"""By how much deadlines may be overrun here, on a machine that does other things beside."""


async def busy(client: Client) -> Client:
    """This client, whose predict waits for the model's folder to have a `go`."""
    image = picture(WAIT)
    client.post(f"Content-Length: {len(image)}", "Expect: 100-continue")
    assert (await client.reply()).status == 100
    client.send(image)
    return client


async def admitted(ask: Callable[[], Awaitable[Reply]]) -> Reply:
    """The first reply that is no refusal for there being too many connections."""
    async with asyncio.timeout(IN_TIME):
        while (reply := await ask()).status == 503:
            assert reply.body["error"] == "too_many_connections"
            assert reply.headers["Connection"] == "close"
            assert int(reply.headers["Retry-After"]) >= 1
    return reply


async def test_idle_connections_and_slow_writers_end_on_their_deadlines_and_leave_nothing(
    start: Start,
) -> None:
    server = start(
        *(*MODEL, "--header-timeout", "1", "--keepalive-timeout", "2", "--body-timeout", "1.5")
    ).ready()
    before = sockets(server)
    crowd = Crowd(server.url)
    for kind, number in zip(kinds(1, 2, 1.5), (250, 250, 25, 25), strict=True):
        crowd.send(kind, number)
    async with aiohttp.ClientSession(server.url) as http:
        async with http.post("/predict", data=form(picture(FINE))) as reply:
            assert reply.status == 200
    await crowd.leave()

    assert len(crowd.visits) == 550
    assert [visit for visit in crowd.visits if not visit.went_well(SPARE_SECONDS)] == []
    async with asyncio.timeout(IN_TIME):
        while sockets(server) > before:
            await asyncio.sleep(0.01)
    assert server.stop() == 0
    assert "Traceback" not in server.log, server.log


async def test_whoever_has_a_request_gets_in_for_the_one_that_has_waited_longest(
    start: Start, connect: Connect, tmp_path: Path
) -> None:
    server = start(*MODEL, "--max-connections", "4", MODEL_FOLDER=str(tmp_path)).ready()
    asked = await busy(await connect(server))
    silent, slow, kept = [await connect(server) for _ in range(3)]
    slow.send(GET[:5])
    kept.send(GET)
    assert (await kept.reply()).status == 200

    async def ask() -> Reply:
        newcomer = await connect(server)
        newcomer.send(GET)
        return await newcomer.reply()

    for client in (silent, slow):
        assert (await admitted(ask)).status == 200
        assert await client.until_closed() == b""
    kept.send(GET)
    assert (await kept.reply()).status == 200
    (tmp_path / "go").touch()
    assert (await asked.reply()).status == 200
    server.wait_for_line(r"WARNING connections closed: \d+; of --max-connections, these had waited")
    assert server.stop() == 0


async def test_a_newcomer_is_refused_while_all_have_requests_and_these_are_answered(
    start: Start, connect: Connect, tmp_path: Path
) -> None:
    server = start(*MODEL, "--max-connections", "3", MODEL_FOLDER=str(tmp_path)).ready()
    kept = [await busy(await connect(server)) for _ in range(3)]
    since, refused = time.monotonic(), 0
    while refused < 120 or time.monotonic() < since + 1.5 * SPARED_SECONDS:
        refused += 1
        reply = await (await connect(server)).reply()
        assert (reply.status, reply.body["error"]) == (503, "too_many_connections")
        assert reply.headers["Connection"] == "close"
        assert int(reply.headers["Retry-After"]) >= 1
    (tmp_path / "go").touch()
    for client in kept:
        assert (await client.reply()).status == 200
    server.wait_for_line(r"WARNING .*closed: \d+; there were --max-connections")
    assert server.stop() == 0
    assert "Traceback" not in server.log, server.log
