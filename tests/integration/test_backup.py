"""Import and export by a real server, to a folder and to a real S3 server."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import orjson
import pytest

from tests import models
from tests.integration import requests
from tests.integration.requests import finished, form, picture, status, submit
from tests.server_process import ServerProcess
from tools.s3_proxy import Fault, S3Proxy
from tools.s3_server import S3Server

pytest_plugins = ["tests.s3_server"]

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


# The main path


async def test_a_fresh_server_restores_what_another_had_before_it_is_ready(
    home: Home, serve: Serve
) -> None:
    old = serve("old", home).ready()
    async with aiohttp.ClientSession(old.url) as http:
        ids = [await submit(http, FINE) for _ in range(5)]
        for request_id in ids:
            await finished(http, request_id)
        await submit(http, picture(models.RAISE))
        await http.delete(f"/delete/{ids[0]}")
    await predict(old, 3)
    before = await results(old)
    assert old.stop() == 0  # which exports what still waits

    new = serve("new", home).ready()
    after = await results(new)

    assert len(before) in {8, 9}  # the last may have waited
    assert {key: value for key, value in before.items() if value["status"] != "Pending"} == {
        key: after[key] for key in before if before[key]["status"] != "Pending"
    }
    assert ids[0] not in after


async def test_an_export_of_all_and_an_import_answer_as_ever(home: Home, serve: Serve) -> None:
    server = serve("one", home).ready()
    await predict(server, 3)
    before = await results(server)

    assert await ask(server, "POST", "/export") == (
        200,
        {"status": "Success", "response": f"3 results are backed up to {home.remote}."},
    )
    assert await ask(server, "POST", "/import") == (
        200,
        {"status": "Success", "response": f"3 results are imported from {home.remote}."},
    )
    assert await results(server) == before


async def test_what_is_deleted_is_not_brought_back(home: Home, serve: Serve) -> None:
    server = serve("one", home).ready()
    first, second = await predict(server, 2)
    await ask(server, "POST", "/export")
    await ask(server, "DELETE", f"/delete/{first}")
    await ask(server, "POST", "/import")
    assert set(await results(server)) == {second}

    await ask(server, "DELETE", "/deleteAll")
    (third,) = await predict(server)
    await exported(server)
    await ask(server, "POST", "/import")
    assert set(await results(server)) == {third}

    fresh = serve("two", home).ready()
    assert set(await results(fresh)) == {third}


async def test_two_servers_share_a_remote_and_neither_loses_anything(
    home: Home, serve: Serve
) -> None:
    one = serve("one", home, "--import-on-start", "never").ready()
    two = serve("two", home, "--import-on-start", "never").ready()
    await asyncio.gather(predict(one, 10), predict(two, 10))
    await asyncio.gather(*(ask(each, "POST", "/export") for each in (one, two)))
    await asyncio.gather(predict(one, 5), predict(two, 5))
    await asyncio.gather(exported(one), exported(two))
    expected = {**await results(one), **await results(two)}

    assert len(expected) == 30
    assert await results(serve("three", home).ready()) == expected
    assert (await ask(one, "POST", "/import"))[0] == 200
    assert await results(one) == expected


# What stays


async def test_an_import_leaves_pending_work_and_what_no_backup_has(
    folder: Home, serve: Serve
) -> None:
    server = serve("one", folder).ready()
    (backed_up,) = await predict(server)
    await exported(server)
    async with aiohttp.ClientSession(server.url) as http:
        # its worker waits for a file that is not there yet
        pending = await submit(http, picture(models.WAIT))
        assert (await http.post("/import")).status == 200
        assert set(await results(server)) == {backed_up, pending}
        Path("go").touch()
        try:
            assert (await finished(http, pending))["status"] == "Success"
        finally:
            Path("go").unlink()


async def test_blocking_predicts_are_not_backed_up_where_only_async_ones_are_wanted(
    folder: Home, serve: Serve
) -> None:
    server = serve("one", folder, "--export", "async-only").ready()
    (blocking,) = await predict(server)
    async with aiohttp.ClientSession(server.url) as http:
        accepted = await submit(http, FINE)
        await finished(http, accepted)
    await exported(server)

    assert set(await results(server)) == {blocking, accepted}
    assert set(await results(serve("two", folder).ready())) == {accepted}


# What is refused


def damage(home: Home, how: str) -> None:
    root = Path(home.remote.removeprefix("file://"))
    manifest = root / "MANIFEST.json"
    (snapshot,) = (root / "snapshot").iterdir()
    data = snapshot.read_bytes()
    if how == "truncated":
        snapshot.write_bytes(data[:-20])
    elif how == "corrupt":
        snapshot.write_bytes(data[:60] + bytes([data[60] ^ 1]) + data[61:])
    elif how == "without its snapshot":
        snapshot.unlink()
    elif how == "foreign":
        manifest.write_text('{"version": 2}')
    elif how == "no manifest":
        manifest.write_text("<html>")
    elif how == "newer":
        manifest.write_bytes(orjson.dumps(orjson.loads(manifest.read_bytes()) | {"format": 2}))


@pytest.mark.parametrize(
    "how", ["truncated", "corrupt", "without its snapshot", "foreign", "no manifest", "newer"]
)
async def test_a_backup_that_is_not_whole_is_refused_and_nothing_changes(
    how: str, folder: Home, serve: Serve
) -> None:
    server = serve("one", folder).ready()
    await predict(server, 3)
    await ask(server, "POST", "/export")
    damage(folder, how)
    before = await results(server)

    code, answer = await ask(server, "POST", "/import")

    assert (code, answer["status"], answer["error"]) == (502, "Fail", "backup_unusable")
    assert folder.remote in answer["response"]
    assert await results(server) == before
    fresh = serve("two", folder)
    assert fresh.wait() == 1
    assert "--import-on-start never" in fresh.log
    assert "Traceback" not in fresh.log
    assert await results(serve("two", folder, "--import-on-start", "never").ready()) == {}


async def test_a_lost_group_of_changes_is_noticed(folder: Home, serve: Serve) -> None:
    server = serve("one", folder).ready()
    for _ in range(3):
        await predict(server)
        await exported(server)
    root = Path(folder.remote.removeprefix("file://"))
    second = sorted((root / "changes").glob("*/*"))[1]
    second.unlink()

    code, answer = await ask(server, "POST", "/import")

    assert (code, answer["error"]) == (502, "backup_unusable")
    assert str(second.relative_to(root)) in answer["response"]
    assert len(await results(server)) == 3


async def test_an_import_from_where_nothing_is_changes_nothing(folder: Home, serve: Serve) -> None:
    server = serve("one", folder, "--export", "async-only").ready()
    ids = await predict(server)
    code, answer = await ask(server, "POST", "/import")
    assert (code, answer["error"]) == (404, "no_backup")
    assert set(await results(server)) == set(ids)


# A remote that fails


@pytest.fixture
async def proxy(s3: S3Server) -> AsyncIterator[S3Proxy]:
    async with S3Proxy(s3.port) as proxy:
        yield proxy


@pytest.fixture
def behind(proxy: S3Proxy, s3: S3Server, bucket: str) -> Home:
    environment = {**s3.environment, "AWS_ENDPOINT_URL": proxy.endpoint}
    return Home(f"s3://{bucket}/results", environment)


async def test_a_remote_that_is_down_harms_no_predict_and_has_all_once_it_is_up(
    behind: Home, proxy: S3Proxy, serve: Serve
) -> None:
    server = await asyncio.to_thread(serve("one", behind).ready)
    proxy.fault = Fault.CUT_BEFORE
    ids = await predict(server, 20)
    async with aiohttp.ClientSession(server.url) as http, asyncio.timeout(60):
        while not (trouble := (await status(http))["backup"]["trouble"]):
            await asyncio.sleep(0.01)
    ids += await predict(server, 20)
    assert behind.remote in trouble

    proxy.fault = None
    await exported(server)

    assert server.log.count("can't back up to") == 1
    assert server.log.count("backing up to") == 1
    assert set(await results(await asyncio.to_thread(serve("two", behind).ready))) == set(ids)


async def test_a_second_transfer_is_refused_while_one_runs(
    behind: Home, proxy: S3Proxy, serve: Serve
) -> None:
    server = await asyncio.to_thread(serve("one", behind).ready)
    await predict(server)
    await exported(server)
    proxy.delay = 1
    proxy.inject(Fault.DELAY, methods={"PUT"})
    lines = []
    async with aiohttp.ClientSession(server.url) as http:
        async with http.post("/export", headers={"Accept": "application/x-ndjson"}) as reply:
            assert reply.content_type == "application/x-ndjson"
            async for line in reply.content:
                lines.append(orjson.loads(line))
                if len(lines) == 1:
                    code, answer = await ask(server, "POST", "/import")
                    assert (code, answer["error"]) == (409, "backup_running")
    assert lines[0]["status"] == "Running"
    assert set(lines[0]) == {"status", "done", "total"}
    assert lines[-1] == {
        "status": "Success",
        "response": f"1 result is backed up to {behind.remote}.",
    }


async def test_an_export_that_fails_says_so_in_its_last_line_too(
    behind: Home, proxy: S3Proxy, serve: Serve
) -> None:
    server = await asyncio.to_thread(serve("one", behind).ready)
    await predict(server)
    await exported(server)
    proxy.fault = Fault.FORBIDDEN
    code, answer = await ask(server, "POST", "/export")
    assert (code, answer["status"], answer["error"]) == (502, "Fail", "remote_failed")
    async with aiohttp.ClientSession(server.url) as http:
        async with http.post("/export", headers={"Accept": "application/x-ndjson"}) as reply:
            *_, last = [orjson.loads(line) async for line in reply.content]
    assert last == answer


async def test_groups_of_changes_cost_few_requests(
    behind: Home, proxy: S3Proxy, serve: Serve
) -> None:
    server = await asyncio.to_thread(serve("one", behind, "--export-interval", "1").ready)
    loop = asyncio.get_running_loop()
    begin = loop.time()
    ids = await predict(server, 300)
    await exported(server)
    assert proxy.requests["PUT"] <= loop.time() - begin + 2
    assert set(await results(await asyncio.to_thread(serve("two", behind).ready))) == set(ids)


# The commands


def command(home: Home, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "server", *arguments, "--remote", home.remote],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


async def test_the_commands_move_results_while_no_server_runs(
    folder: Home, serve: Serve, tmp_path: Path
) -> None:
    server = serve("one", folder, "--export", "async-only").ready()
    await predict(server, 2)
    before = await results(server)
    one, two = (("--data-dir", str(tmp_path / name)) for name in ("one", "two"))

    busy = command(folder, "export", *one)
    assert (busy.returncode, busy.stdout) == (1, "")
    assert "curl -X POST" in busy.stderr
    assert server.stop() == 0

    done = command(folder, "export", *one)
    assert (done.returncode, done.stdout) == (
        0,
        f"2 results are backed up to {folder.remote}.\n",
    )
    done = command(folder, "import", *two)
    assert (done.returncode, done.stdout) == (0, f"2 results are imported from {folder.remote}.\n")
    assert await results(serve("two", folder).ready()) == before


def test_a_command_that_fails_says_why_and_ends_with_1(folder: Home, tmp_path: Path) -> None:
    done = command(folder, "import", "--data-dir", str(tmp_path / "one"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count(f"There is no backup at {folder.remote}") == 1
    assert "Traceback" not in done.stderr
