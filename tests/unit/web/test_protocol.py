"""The HTTP of a connection, on the object that serves it."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from aiohttp import web

from server.app import create_app
from server.settings import Settings
from server.web.connection import LINGER_SECONDS, Connections
from server.web.protocol import HttpProtocol


class Live(NamedTuple):
    protocol: HttpProtocol
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@pytest.fixture
async def live() -> AsyncIterator[Live]:
    """A connection to a server that fails at whatever it is asked, and what serves it."""

    async def fail(_: web.BaseRequest) -> web.StreamResponse:
        raise KeyError("secret")

    server = web.Server(fail)
    connections = Connections(
        partial(HttpProtocol.of, server, 75, LINGER_SECONDS),
        most=1,
        header_timeout=15,
        write_timeout=30,
        handshakes=None,
    )
    listener = await asyncio.get_running_loop().create_server(connections.protocol, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
    while not server.connections:
        await asyncio.sleep(0)
    [protocol] = server.connections
    assert isinstance(protocol, HttpProtocol)
    yield Live(protocol, reader, writer)
    writer.close()
    await writer.wait_closed()
    listener.close()
    await server.shutdown(1)


async def test_every_limit_is_there_on_the_live_protocol(live: Live) -> None:
    protocol = live.protocol
    assert (protocol.max_line_size, protocol.max_field_size) == (8190, 8190)
    assert protocol.max_headers == 64
    assert protocol.keepalive_timeout == 75
    assert protocol._lingering_time == 10
    assert protocol._read_bufsize == 65_536
    assert protocol.debug is False
    assert protocol.logger.name == "aiohttp.server"


async def test_a_failure_outside_of_all_handlers_is_told_in_the_envelope_and_not_explained(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    live.writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    reply = await live.reader.read()
    assert reply.startswith(b"HTTP/1.1 500 ")
    assert b'"error":"internal_error"' in reply
    assert b"secret" not in reply
    assert "KeyError" in caplog.text  # but the log has it


async def test_a_request_holds_no_more_than_the_upload_reader_lets_it(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path))
    assert app._client_max_size == 2**20  # of request.read() and .post(), which nothing here uses
