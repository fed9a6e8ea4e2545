"""TLS: the server's own, and that its deadlines and bounds hold there too."""

import asyncio
import io
import random
import select
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from tests.certificates import self_signed
from tests.integration.conftest import Start
from tests.integration.requests import picture
from tests.integration.test_crowd import admitted, busy
from tests.integration.test_deadlines import GET, MODEL, insert_results, sockets
from tests.models import FINE
from tests.server_process import ServerProcess
from tests.unit.web.test_upload import IN_TIME, Client, Reply
from tools.visitors import Crowd, Kind

Connect = Callable[..., Awaitable[Client]]
Serve = Callable[..., ServerProcess]


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return self_signed(tmp_path)


@pytest.fixture
def trusting(pair: tuple[Path, Path]) -> ssl.SSLContext:
    """What a client needs to trust this test's servers."""
    return ssl.create_default_context(cafile=pair[0])


@pytest.fixture
def serve(start: Start, pair: tuple[Path, Path]) -> Serve:
    """Starts a server that has a certificate."""
    given = ("--tls-cert", str(pair[0]), "--tls-key", str(pair[1]))
    return lambda *arguments, **environment: start(
        *MODEL, *given, *arguments, **environment
    ).ready()


@pytest.fixture
async def connect(trusting: ssl.SSLContext) -> AsyncIterator[Connect]:
    clients: list[Client] = []

    async def connect_one(server: ServerProcess, *, encrypted: bool = True) -> Client:
        url = URL(server.url)
        context = trusting if encrypted else None
        clients.append(Client(await asyncio.open_connection(url.host, url.port, ssl=context)))
        return clients[-1]

    yield connect_one
    for client in clients:
        await client.close()


async def test_a_server_with_a_certificate_speaks_https_and_says_so(
    serve: Serve, trusting: ssl.SSLContext
) -> None:
    server = serve()
    assert server.url.startswith("https://")
    server.wait_for_line(r"try .* -k .*https://")
    headers = {"Content-Type": "image/png"}
    async with aiohttp.ClientSession(server.url, headers=headers) as http:
        for more in (0, 5_000_000):  # the latter, than is read at a time
            image = io.BytesIO(picture(FINE) + bytes(more))
            async with http.post("/predict", data=image, ssl=trusting) as reply:
                assert reply.status == 200
    assert server.stop() == 0


def test_a_certificate_without_its_key_stops_the_start_with_one_line(
    start: Start, pair: tuple[Path, Path]
) -> None:
    server = start("--tls-cert", str(pair[0]))
    assert server.wait() == 1
    (line,) = server.lines
    assert "--tls-cert needs --tls-key" in line


async def test_silent_and_plain_clients_are_closed_in_time(serve: Serve, connect: Connect) -> None:
    server = serve("--header-timeout", "0.4")
    silent = [await connect(server, encrypted=False), await connect(server)]
    for client in silent:
        assert await client.until_closed() == b""
        assert client.seconds < 3
    plain = await connect(server, encrypted=False)
    plain.send(GET)
    assert await plain.until_closed() == b""
    slow = await connect(server)
    slow.send(GET[:10])
    reply = await slow.reply()
    assert (reply.status, reply.body["error"]) == (408, "header_timeout")
    assert await slow.until_closed() == b""
    good = await connect(server)
    good.send(GET)
    assert (await good.reply()).status == 200
    await good.close()
    assert server.stop() == 0
    assert "Traceback" not in server.log, server.log


async def test_clients_that_leave_at_any_moment_do_no_harm(
    serve: Serve, trusting: ssl.SSLContext
) -> None:
    server = serve("--header-timeout", "0.05", "--write-timeout", "0.08")
    url = URL(server.url)
    dice = random.Random(1)

    async def visit() -> None:
        with suppress(OSError):  # the server was quicker
            _, writer = await asyncio.open_connection(url.host, url.port, ssl=trusting)
            if dice.random() < 0.5:
                writer.write(GET[:10])
            await asyncio.sleep(dice.random() * 0.12)
            if dice.random() < 0.5:
                writer.transport.abort()
            else:
                writer.close()

    for _ in range(15):
        await asyncio.gather(*(visit() for _ in range(40)))
    assert server.stop() == 0, server.log


async def test_handshakes_that_never_end_are_closed_in_time_and_hold_up_nobody(
    serve: Serve, connect: Connect
) -> None:
    server = serve("--header-timeout", "2")
    before = sockets(server)
    crowd = Crowd(server.url)
    crowd.send(Kind("no handshake", due=2), 150)
    crowd.send(
        Kind("half a handshake", due=2, writes=(b"\x16\x03\x01\x02\0\1\0\1\xfc", b"\0")), 150
    )
    async with asyncio.timeout(IN_TIME):
        while sockets(server) < before + 300:
            good = await connect(server)
            good.send(GET)
            assert (await good.reply()).status == 200
            await good.close()
    await crowd.leave()
    assert [visit for visit in crowd.visits if not visit.went_well(spare=3)] == []
    async with asyncio.timeout(IN_TIME):
        while sockets(server) > before:
            await asyncio.sleep(0.01)
    assert server.stop() == 0
    assert "Traceback" not in server.log, server.log


async def test_handshakes_count_as_connections_and_give_way_to_others(
    serve: Serve, connect: Connect
) -> None:
    server = serve("--max-connections", "3")
    shaking = [await connect(server, encrypted=False) for _ in range(3)]

    async def ask() -> Reply:
        while True:
            with suppress(ConnectionError):  # refused without a word, once too many were
                newcomer = await connect(server)
                newcomer.send(GET)
                return await newcomer.reply()

    assert (await admitted(ask)).status == 200
    assert await shaking[0].until_closed() == b""
    assert server.stop() == 0
    assert "Traceback" not in server.log, server.log


async def test_connections_over_the_cap_get_a_whole_503(
    serve: Serve, connect: Connect, tmp_path: Path
) -> None:
    server = serve("--max-connections", "2", MODEL_FOLDER=str(tmp_path))
    kept = [await busy(await connect(server)) for _ in range(2)]
    refused = [await connect(server) for _ in range(5)]
    for client in refused:
        reply = await client.reply()
        assert (reply.status, reply.body["error"]) == (503, "too_many_connections")
    for client in refused:
        assert await client.until_closed() == b""
    (tmp_path / "go").touch()
    for client in kept:
        assert (await client.reply()).status == 200
    assert "Traceback" not in server.log, server.log


async def test_a_client_that_does_not_read_is_cut_off(
    serve: Serve, trusting: ssl.SSLContext, tmp_path: Path
) -> None:
    insert_results(tmp_path / "data", 20_000, size=500)
    server = serve("--write-timeout", "1")
    before = sockets(server)
    for greedy in [silent_reader(server, trusting) for _ in range(3)]:
        poll = select.poll()
        poll.register(greedy, 0)  # tells only that the server has cut the connection
        assert await asyncio.to_thread(poll.poll, IN_TIME * 1000)
        greedy.close()
    async with asyncio.timeout(IN_TIME):
        while sockets(server) > before:
            await asyncio.sleep(0.01)
    server.wait_for_line(r"closed: \d+; the answer was not read within --write-timeout")
    assert server.stop() == 0
    assert "grace time is over" not in server.log


async def test_a_client_that_reads_a_long_list_slowly_gets_all_of_it(
    serve: Serve, trusting: ssl.SSLContext, tmp_path: Path
) -> None:
    insert_results(tmp_path / "data", 2500, size=4000)
    server = serve("--write-timeout", "0.3")
    slow = silent_reader(server, trusting, room=2**16)
    slow.settimeout(IN_TIME)
    received = bytearray()
    while not received.endswith(b"\r\n0\r\n\r\n"):
        part = await asyncio.to_thread(slow.recv, 2**15)
        assert part, "the connection was closed"
        received += part
        await asyncio.sleep(0.003)
    slow.close()
    assert received.count(b"request_id") == 2500


def silent_reader(
    server: ServerProcess, trusting: ssl.SSLContext, room: int = 4096
) -> ssl.SSLSocket:
    """A client that asks for everything and reads nothing, with so many bytes' room to receive."""
    url = URL(server.url)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    client.connect((url.host, url.port))
    encrypted = trusting.wrap_socket(client, server_hostname=url.host)
    encrypted.sendall(b"GET /predictResults HTTP/1.1\r\nHost: x\r\n\r\n")
    return encrypted
