"""Deadlines: what clients that are slow, silent, greedy or too many get, and others then don't."""

import asyncio
import http.client
import json
import select
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import apsw
import pytest
from yarl import URL

from server.store.schema import migrate
from tests.integration.conftest import Start
from tests.integration.requests import picture
from tests.models import FINE, WAIT
from tests.server_process import ServerProcess, ready_server
from tests.unit.web.test_upload import IN_TIME, Client

MODEL = ("--model", "tests/models.py:Obedient", "--workers", "1")
SHORT = (
    *("--header-timeout", "0.4", "--keepalive-timeout", "2", "--body-timeout", "0.9"),
    *("--max-body-bytes", "2000000", "--max-uploads-bytes", "3000000"),
)
IMAGE = picture(FINE)
GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"

Connect = Callable[[ServerProcess], Awaitable[Client]]


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with short deadlines; nothing that its clients do may reach its log as an error."""
    with ready_server(tmp_path_factory.mktemp("short") / "data", *MODEL, *SHORT) as server:
        yield server
    assert "ERROR" not in server.log, server.log


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    clients: list[Client] = []

    async def connect_one(server: ServerProcess) -> Client:
        url = URL(server.url)
        clients.append(Client(await asyncio.open_connection(url.host, url.port)))
        return clients[-1]

    yield connect_one
    for client in clients:
        await client.close()


async def test_a_silent_connection_is_closed_without_a_word(
    short: ServerProcess, connect: Connect
) -> None:
    client = await connect(short)
    assert await client.until_closed() == b""
    assert 0.3 < client.seconds < 1.7


@pytest.mark.parametrize("trickles", [False, True])
async def test_a_head_that_is_not_there_in_time_is_answered_408_and_its_connection_closed(
    short: ServerProcess, connect: Connect, trickles: bool
) -> None:
    client = await connect(short)
    client.send(GET[:1])
    reply = asyncio.create_task(client.reply())
    for byte in GET[1:-1] if trickles else b"":
        client.send(bytes([byte]))
        await asyncio.wait([reply], timeout=0.05)
        if reply.done():
            break
    status, headers, body = await reply

    assert (status, headers["Connection"]) == (408, "close")
    assert body == {
        "status": "Fail",
        "response": "The head of the request did not arrive within 0.4 s.",
        "error": "header_timeout",
    }
    assert 0.3 < client.seconds < 1.7
    assert trickles or await client.until_closed() == b""


async def test_a_second_head_that_stops_closes_its_connection(
    short: ServerProcess, connect: Connect
) -> None:
    client = await connect(short)
    client.send(GET)
    assert (await client.reply()).status == 200
    client.began = time.monotonic()
    client.send(GET[:20])
    assert await client.until_closed() == b""
    assert 0.3 < client.seconds < 1.7  # long before the keep-alive time is over


async def test_an_idle_connection_is_kept_for_the_keepalive_time_and_no_longer(
    short: ServerProcess, connect: Connect
) -> None:
    client = await connect(short)
    for _ in range(2):
        client.send(GET)
        assert (await client.reply()).status == 200
        client.began = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.7):  # idle for longer than a head may take
                await client.reader.read(1)
    assert await client.until_closed() == b""
    assert 1.7 < client.seconds < 5


@pytest.mark.parametrize("trickles", [False, True])
async def test_a_body_that_is_not_there_in_time_is_answered_408(
    short: ServerProcess, connect: Connect, trickles: bool
) -> None:
    client = await connect(short)
    client.post("Content-Length: 1000")
    while trickles and client.seconds < 0.8:
        client.send(b"x")
        await asyncio.sleep(0.05)
    reply = await client.reply()

    assert (reply.status, reply.body["error"]) == (408, "body_timeout")
    assert reply.headers["Connection"] == "close"
    assert 0.8 < client.seconds < 5


async def test_a_client_that_is_slow_but_in_time_is_served(
    short: ServerProcess, connect: Connect
) -> None:
    client = await connect(short)
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: %d"
    for line in (head % len(IMAGE) + b"\r\n\r\n").splitlines(keepends=True):
        client.send(line)
        await asyncio.sleep(0.03)
    for start in range(0, len(IMAGE), 10):
        client.send(IMAGE[start : start + 10])
        await asyncio.sleep(0.5 * 10 / len(IMAGE))
    reply = await client.reply()

    assert reply.status == 200
    assert reply.body["response"]["label"] == "obeyed"
    assert "Connection" not in reply.headers
    assert client.seconds > 0.6


async def test_uploads_over_the_budget_get_429_while_others_succeed(
    short: ServerProcess, connect: Connect
) -> None:
    large, greedy, small = [await connect(short) for _ in range(3)]
    large.post("Content-Length: 1900000", "Expect: 100-continue")
    assert (await large.reply()).status == 100
    greedy.post("Content-Length: 1900000")
    refusal = await greedy.reply()
    small.post(f"Content-Length: {len(IMAGE)}")
    small.send(IMAGE)

    assert (refusal.status, refusal.body["error"]) == (429, "too_many_uploads")
    assert refusal.headers["Retry-After"] == "1"
    assert (await small.reply()).status == 200
    large.send(IMAGE + bytes(1_900_000 - len(IMAGE)))
    assert (await large.reply()).status == 200


async def test_what_would_be_refused_is_not_continued(
    short: ServerProcess, connect: Connect
) -> None:
    client = await connect(short)
    client.post("Content-Length: 2000001", "Expect: 100-continue")
    reply = await client.reply()

    assert (reply.status, reply.body["error"]) == (413, "too_many_bytes")
    assert reply.headers["Connection"] == "close"
    assert await client.until_closed() == b""  # it is not waited for a body that need not come
    assert client.seconds < 5


@pytest.mark.parametrize(("kind", "status"), [("image/jpeg", 413), ("text/plain", 415)])
async def test_a_refusal_reaches_a_client_that_does_not_read_before_it_has_sent_everything(
    short: ServerProcess, kind: str, status: int
) -> None:
    def post() -> int:
        url = URL(short.url)
        connection = http.client.HTTPConnection(f"{url.host}:{url.port}", timeout=IN_TIME)
        connection.request("POST", "/predict", bytes(30_000_000), {"Content-Type": kind})
        return connection.getresponse().status

    assert await asyncio.to_thread(post) == status


async def test_a_client_that_does_not_read_is_cut_off_and_frees_everything(
    start: Start, connect: Connect, tmp_path: Path
) -> None:
    insert_results(tmp_path / "data", 20_000, size=500)
    server = start(*MODEL, "--write-timeout", "1").ready()
    client = await connect(server)
    client.send(GET)
    await client.reply()
    before = sockets(server)

    for greedy in [_silent_reader(server, room=4096) for _ in range(5)]:
        poll = select.poll()
        poll.register(greedy, 0)  # tells only that the server has cut the connection
        assert await asyncio.to_thread(poll.poll, IN_TIME * 1000)
        greedy.close()
    async with asyncio.timeout(IN_TIME):
        while sockets(server) > before:
            await asyncio.sleep(0.01)
    client.send(GET)
    assert (await client.reply()).status == 200
    server.wait_for_line(r"closed: \d+; the answer was not read within --write-timeout")
    assert server.stop() == 0  # no request is still being answered: the end need not wait
    assert "grace time is over" not in server.log


async def test_a_client_that_does_not_read_keeps_nothing_in_the_log_of_the_database(
    start: Start, connect: Connect, tmp_path: Path
) -> None:
    insert_results(tmp_path / "data", 20_000, size=500)
    server = start(*MODEL, "--write-timeout", "600").ready()
    silent = _silent_reader(server, room=4096)
    assert await asyncio.to_thread(silent.recv, 1)  # its answer is on the way
    client = await connect(server)
    client.send(b"DELETE /deleteAll HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await client.reply()).status == 200

    with closing(apsw.Connection(str(tmp_path / "data" / "predictions.db"))) as connection:
        connection.set_busy_timeout(10_000)
        connection.pragma("journal_mode")  # it only knows now that there is a log
        left = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)  # else BusyError
    assert left == (0, 0)
    silent.close()


async def test_a_client_that_reads_a_long_list_slowly_gets_all_of_it(
    start: Start, tmp_path: Path
) -> None:
    insert_results(tmp_path / "data", 2500, size=4000)
    server = start(*MODEL, "--write-timeout", "0.3").ready()
    slow = _silent_reader(server, room=2**16)
    slow.settimeout(IN_TIME)
    began = time.monotonic()
    received = bytearray()
    while not received.endswith(b"\r\n0\r\n\r\n"):
        part = await asyncio.to_thread(slow.recv, 2**17, socket.MSG_WAITALL)
        assert part, "the connection was closed"
        received += part
        await asyncio.sleep(0.04)
    slow.close()

    assert received.count(b"request_id") == 2500
    assert time.monotonic() - began > 1.5  # for three pages, each a single write


async def test_replies_close_their_connections_while_the_server_drains(
    start: Start, connect: Connect, tmp_path: Path
) -> None:
    server = start(*MODEL, MODEL_FOLDER=str(tmp_path)).ready()
    busy, idle = await connect(server), await connect(server)
    idle.send(GET)
    assert "Connection" not in (await idle.reply()).headers
    image = picture(WAIT)
    busy.post(f"Content-Length: {len(image)}", "Expect: 100-continue")
    assert (await busy.reply()).status == 100
    busy.send(image)
    server.process.send_signal(signal.SIGTERM)
    server.wait_for_line("stopping")
    idle.send(GET)

    assert (await idle.reply()).headers["Connection"] == "close"
    assert await idle.until_closed() == b""
    (tmp_path / "go").touch()
    answer = await busy.reply()
    assert (answer.status, answer.headers["Connection"]) == (200, "close")
    assert await asyncio.to_thread(server.wait) == 0


def insert_results(data_dir: Path, number: int, size: int) -> None:
    """A database with so many results of about so many bytes."""
    data_dir.mkdir()
    connection = apsw.Connection(str(data_dir / "predictions.db"))
    migrate(connection)
    with connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
            " INSERT INTO predictions(request_id, status, created_at, response)"
            " SELECT printf('%08x-0000-4000-8000-000000000000', i), 'Success', i, ? FROM n",
            (number, json.dumps({"label": "x" * size}).encode()),
        )
    connection.close()


def sockets(server: ServerProcess) -> int:
    """How many sockets the server has open."""
    found = 0
    for file in Path(f"/proc/{server.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed meanwhile
            found += str(file.readlink()).startswith("socket:")
    return found


def _silent_reader(server: ServerProcess, room: int) -> socket.socket:
    """A client that asks for everything and reads nothing, with so many bytes' room to receive."""
    url = URL(server.url)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    client.connect((url.host, url.port))
    client.sendall(b"GET /predictResults HTTP/1.1\r\nHost: x\r\n\r\n")
    return client
