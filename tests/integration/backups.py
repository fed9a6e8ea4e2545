"""Servers that back up, and where to: fixtures and helpers of the tests of import and export."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from tests import models
from tests.integration import requests
from tests.integration.requests import form, picture
from tests.server_process import ServerProcess
from tools.s3_proxy import S3Proxy
from tools.s3_server import S3Server

Results = Mapping[str, Any]
FINE = picture(models.FINE)


class Home(NamedTuple):
    """Where backups go, and what leads a server there."""

    remote: str
    environment: Mapping[str, str]


@pytest.fixture(params=["folder", "s3"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    if request.param == "folder":
        return Home((tmp_path / "remote").as_uri(), {})
    bucket = request.getfixturevalue("bucket")
    s3: S3Server = request.getfixturevalue("s3")
    return Home(f"s3://{bucket}/results", s3.environment)


@pytest.fixture
def folder(tmp_path: Path) -> Home:
    return Home((tmp_path / "remote").as_uri(), {})


Serve = Callable[..., ServerProcess]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts servers by name, each on a data directory of its own."""
    with ExitStack() as servers:

        def start(name: str, home: Home, *arguments: str) -> ServerProcess:
            server = ServerProcess(
                tmp_path / name,
                *("--model", "tests/models.py:Obedient", "--workers", "1"),
                *("--remote", home.remote, "--export-interval", "0.05", *arguments),
                **home.environment,
            )
            servers.callback(server.wait)
            servers.callback(server.process.kill)
            return server

        yield start


async def results(server: ServerProcess) -> Results:
    async with aiohttp.ClientSession(server.url) as http, http.get("/predictResults") as reply:
        return {result["request_id"]: result for result in await reply.json()}


async def predict(server: ServerProcess, times: int = 1) -> list[str]:
    async with aiohttp.ClientSession(server.url) as http:
        found = []
        for _ in range(times):
            async with http.post("/predict", data=form(FINE)) as reply:
                found.append((await reply.json())["request_id"])
        return found


async def ask(server: ServerProcess, method: str, path: str, **more: Any) -> tuple[int, Any]:
    async with aiohttp.ClientSession(server.url) as http:
        async with http.request(method, path, **more) as reply:
            return reply.status, await reply.json()


async def exported(server: ServerProcess) -> None:
    """Wait until the remote has all."""
    async with aiohttp.ClientSession(server.url) as http:
        await requests.exported(http)


@pytest.fixture
async def proxy(s3: S3Server) -> AsyncIterator[S3Proxy]:
    async with S3Proxy(s3.port) as proxy:
        yield proxy


@pytest.fixture
def behind(proxy: S3Proxy, s3: S3Server, bucket: str) -> Home:
    environment = {**s3.environment, "AWS_ENDPOINT_URL": proxy.endpoint}
    return Home(f"s3://{bucket}/results", environment)
