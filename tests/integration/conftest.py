"""Servers and clients for the integration tests."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.contract.checked import contract
from tests.integration.backups import behind, folder, home, proxy, serve
from tests.s3_server import bucket, s3
from tests.server_process import ServerProcess, ready_server

__all__ = [
    "behind",
    "bucket",
    "contract",
    "folder",
    "home",
    "proxy",
    "s3",
    "serve",
]  # fixtures, too

Start = Callable[..., ServerProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts servers on this test's own data directory; ends those that still run at its end."""
    servers: list[ServerProcess] = []

    def start_one(*arguments: str, **environment: str) -> ServerProcess:
        server = ServerProcess(tmp_path / "data", *arguments, **environment)
        servers.append(server)
        return server

    yield start_one
    for server in servers:
        server.process.kill()
        server.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with the default model, shared by the tests of a file; it must end with code 0."""
    with ready_server(tmp_path_factory.mktemp("server") / "data") as server:
        yield server
    assert "Traceback" not in server.log, server.log


@pytest.fixture
async def http(server: ServerProcess) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of the shared server."""
    async with aiohttp.ClientSession(server.url) as session:
        yield session
