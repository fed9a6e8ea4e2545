"""Reading uploads: the deadlines, the rate and the room that bodies have."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from server.health import Health
from server.web import middleware, upload
from server.web.keys import HEALTH
from server.web.upload import UploadReader
from tests.photos import photo

JPEG = photo("rocket.jpg").read_bytes()
BUDGET = 300_000
IN_TIME = 10.0
"""Seconds in which anything here must have happened."""


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any


class Client:
    """A connection that sends what a test says, when it says so."""

    def __init__(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self.reader, self._writer = streams
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    def post(self, *headers: str, path: str = "/predict", kind: str = "image/jpeg") -> None:
        """Begin a request whose body is still to be sent."""
        lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Type: {kind}", *headers, "", ""]
        self.send("\r\n".join(lines).encode())

    async def reply(self) -> Reply:
        async with asyncio.timeout(IN_TIME):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            status, *lines = head.rstrip().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            body = await self.reader.readexactly(int(headers.get("Content-Length", "0")))
        return Reply(int(status.split()[1]), headers, json.loads(body) if body else None)

    async def until_closed(self) -> bytes:
        """What still comes until the server closes the connection."""
        async with asyncio.timeout(IN_TIME):
            return await self.reader.read()

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


Connect = Callable[[], Awaitable[Client]]


@pytest.fixture
def reader() -> UploadReader:
    return UploadReader(2 * BUDGET, 60, None, min_rate=0, budget=BUDGET)


@pytest.fixture
async def connect(reader: UploadReader) -> AsyncIterator[Connect]:
    """Connects to a server that answers how many bytes it read."""

    async def answer(request: web.Request) -> web.Response:
        image = await reader.read(request)
        return web.json_response({"size": len(image.data), "save": image.save_locally})

    app = web.Application(middlewares=[middleware.identify, middleware.errors])
    app[HEALTH] = Health()
    app.router.add_post("/predict", answer, expect_handler=upload.expect)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, read_bufsize=2**16)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    clients: list[Client] = []

    async def connect_one() -> Client:
        client = Client(await asyncio.open_connection(*runner.addresses[0]))
        clients.append(client)
        return client

    yield connect_one
    for client in clients:
        await client.close()
    await runner.cleanup()


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "GRACE_SECONDS", 0.2)


async def test_a_body_is_read_whole_however_it_arrives(connect: Connect) -> None:
    client = await connect()
    client.post(f"Content-Length: {len(JPEG)}")
    for start in range(0, len(JPEG), 9_999):
        client.send(JPEG[start : start + 9_999])
        await asyncio.sleep(0)
    assert (await client.reply()).body == {"size": len(JPEG), "save": False}

    client.post("Transfer-Encoding: chunked", path="/predict?save_locally=yes")
    client.send(b"5\r\nabcde\r\n")
    client.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(JPEG), JPEG))
    assert (await client.reply()).body == {"size": len(JPEG) + 5, "save": True}


async def test_a_body_that_stops_is_given_up_when_its_time_is_over(
    connect: Connect, reader: UploadReader
) -> None:
    reader.timeout = 0.2
    client = await connect()
    client.post("Content-Length: 1000")
    client.send(b"x" * 999)

    reply = await client.reply()
    assert (reply.status, reply.body["error"]) == (408, "body_timeout")
    assert reply.body["response"] == "The body did not arrive within 0.2 s."


@pytest.mark.usefixtures("short_grace")
async def test_a_body_slower_than_the_minimum_rate_is_given_up(
    connect: Connect, reader: UploadReader
) -> None:
    reader.min_rate = 1000
    client = await connect()
    client.post("Content-Length: 100000")
    client.send(b"x" * 300)  # enough for 0.3 s

    reply = await client.reply()
    assert (reply.status, reply.body["error"]) == (408, "body_timeout")
    assert "more slowly than 1,000 bytes a second: 300 bytes" in reply.body["response"]


@pytest.mark.usefixtures("short_grace")
async def test_a_body_that_keeps_the_minimum_rate_may_take_longer_than_the_grace(
    connect: Connect, reader: UploadReader
) -> None:
    reader.min_rate = 1000
    client = await connect()
    client.post("Content-Length: 1500")
    for _ in range(3):
        client.send(b"x" * 500)  # enough for 0.5 s each
        await asyncio.sleep(0.2)

    assert (await client.reply()).body["size"] == 1500


@pytest.mark.usefixtures("short_grace")
async def test_a_body_that_keeps_the_minimum_rate_must_still_be_there_in_time(
    connect: Connect, reader: UploadReader
) -> None:
    reader.min_rate, reader.timeout = 1000, 0.6
    client = await connect()
    client.post("Content-Length: 100000")
    reply = asyncio.create_task(client.reply())
    for _ in range(40):
        client.send(b"x" * 100)  # enough for 0.1 s
        await asyncio.wait([reply], timeout=0.05)
        if reply.done():
            break

    assert (await reply).body["response"] == "The body did not arrive within 0.6 s."
    assert client.seconds < 1


async def test_uploads_over_the_budget_are_refused_before_they_are_read(connect: Connect) -> None:
    first, second, third = [await connect() for _ in range(3)]
    first.post("Content-Length: 200000", "Expect: 100-continue")
    assert (await first.reply()).status == 100  # its room is reserved
    second.post("Content-Length: 150000")
    refusal = await second.reply()
    third.post("Content-Length: 90000")
    third.send(bytes(90_000))
    fits = await third.reply()
    first.send(bytes(200_000))

    assert (refusal.status, refusal.body["error"]) == (429, "too_many_uploads")
    assert refusal.headers["Retry-After"] == "1"
    assert fits.body["size"] == 90_000
    assert (await first.reply()).body["size"] == 200_000


async def test_a_body_of_unknown_size_takes_the_room_of_the_largest(connect: Connect) -> None:
    first, second = await connect(), await connect()
    first.post("Transfer-Encoding: chunked", "Expect: 100-continue")
    assert (await first.reply()).status == 100
    second.post("Content-Length: 1")
    assert (await second.reply()).status == 429

    first.send(b"1\r\nx\r\n0\r\n\r\n")
    assert (await first.reply()).body["size"] == 1


@pytest.mark.parametrize("end", ["answered", "late", "too large", "gone"])
async def test_room_is_free_again_however_an_upload_ends(
    connect: Connect, reader: UploadReader, end: str
) -> None:
    reader.timeout = 0.2 if end == "late" else 60
    client = await connect()
    client.post("Transfer-Encoding: chunked", "Expect: 100-continue")
    assert (await client.reply()).status == 100
    body = {"answered": b"1\r\nx\r\n0\r\n\r\n", "too large": b"ffffff\r\n" + bytes(2**20)}
    client.send(body.get(end, b"1\r\nx\r\n"))
    if end == "gone":
        await client.close()
    else:
        status = {"answered": 200, "late": 408, "too large": 413}[end]
        assert (await client.reply()).status == status

    another = await connect()
    async with asyncio.timeout(IN_TIME):
        while True:
            another.post(f"Content-Length: {BUDGET}", "Expect: 100-continue")
            if (await another.reply()).status == 100:
                break
            another = await connect()
    another.send(bytes(BUDGET))
    assert (await another.reply()).body["size"] == BUDGET


async def test_a_body_larger_than_the_budget_is_read_when_it_is_alone(connect: Connect) -> None:
    client = await connect()
    client.post(f"Content-Length: {BUDGET + 1}")
    client.send(bytes(BUDGET + 1))
    assert (await client.reply()).body["size"] == BUDGET + 1


@pytest.mark.parametrize(
    ("path", "kind", "length", "error"),
    [
        ("/predict", "text/plain", 1000, "unsupported_media_type"),
        ("/predict", "image/jpeg", 2 * BUDGET + 1, "too_many_bytes"),
        ("/predict?save_locally=perhaps", "image/jpeg", 1000, "invalid_parameter"),
    ],
)
async def test_what_its_head_rules_out_is_refused_instead_of_continued(
    connect: Connect, path: str, kind: str, length: int, error: str
) -> None:
    client = await connect()
    client.post(f"Content-Length: {length}", "Expect: 100-continue", path=path, kind=kind)
    assert (await client.reply()).body["error"] == error


async def test_a_client_of_http_1_0_is_not_told_to_continue(
    connect: Connect, reader: UploadReader
) -> None:
    client = await connect()
    client.send(b"POST /predict HTTP/1.0\r\nContent-Type: image/jpeg\r\nContent-Length: 3\r\n")
    client.send(b"Expect: 100-continue\r\n\r\n")
    async with asyncio.timeout(IN_TIME):
        while not reader._reserved:  # until it waits for the body
            await asyncio.sleep(0.001)
    client.send(b"abc")
    assert (await client.reply()).body["size"] == 3
