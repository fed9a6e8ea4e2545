"""Import and export when the backup or its remote is bad: a sentence, and nothing changes."""

import asyncio
from pathlib import Path

import aiohttp
import orjson
import pytest

from tests.integration.backups import Home, Serve, ask, exported, predict, results
from tests.integration.requests import status
from tools.s3_proxy import Fault, S3Proxy

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
