"""Import and export by a real server, to a folder and to a real S3 server."""

import asyncio
import subprocess
import sys
from pathlib import Path

import aiohttp

from tests import models
from tests.integration.backups import FINE, Home, Serve, ask, exported, predict, results
from tests.integration.requests import finished, picture, submit

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
