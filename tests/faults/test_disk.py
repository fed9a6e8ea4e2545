"""Disks that are full, turn read-only or fail: nothing lies, and what was answered is kept."""

import asyncio
import os
import signal
from pathlib import Path

import aiohttp

from tests.faults.disks import (
    FINE,
    HUGE,
    LARGE,
    MIB,
    OBEDIENT,
    PAGE,
    WAIT,
    Mounted,
    listed,
    predicted,
    refused,
    rows,
)
from tests.integration.conftest import Start
from tests.integration.requests import exported, finished, queued, status, submit


async def test_nothing_is_accepted_below_the_free_space_that_stays(
    disk: Mounted, start: Start
) -> None:
    server = start(*OBEDIENT, "--min-free-disk", "4MiB").ready()
    async with aiohttp.ClientSession(server.url) as http:
        before = await predicted(http)
        await exported(http)  # from now on nothing writes but for requests
        disk.fill(leaving=4 * MIB - PAGE)
        files = disk.files()
        for path in ("/predict", "/asyncPredict", "/predict?save_locally=true"):
            await refused(http, path)
        assert disk.files() == files
        assert await listed(http) == {before: "Success"}
        async with http.delete(f"/delete/{before}") as reply:
            assert reply.status == 200
        disk.make_room()
        assert (await finished(http, await submit(http, FINE)))["status"] == "Success"


async def test_a_full_disk_refuses_what_is_new_and_keeps_what_was_accepted(
    disk: Mounted, start: Start, tmp_path: Path
) -> None:
    server = start(*OBEDIENT, "--min-free-disk", "0", MODEL_FOLDER=str(tmp_path)).ready()
    async with aiohttp.ClientSession(server.url) as http:
        before = await predicted(http)
        await exported(http)  # from now on nothing writes but for requests
        waiting = [await submit(http, WAIT, save_locally="true") for _ in range(3)]
        await queued(http, running=1)
        disk.fill()
        await refused(http, "/asyncPredict", LARGE)
        await refused(http, "/asyncPredict", HUGE)
        (tmp_path / "go").touch()
        await refused(http, "/predict")
        await queued(http, running=0)  # the model answered all of them: nobody can keep it

        there = {before: "Success", **dict.fromkeys(waiting, "Pending")}
        assert await listed(http) == there
        assert (await status(http))["pending"]["count"] == 3
        async with http.get(f"/predictResults/{waiting[0]}") as reply:
            assert (await reply.json())["status"] == "Pending"

        disk.make_room()
        results = [await finished(http, request_id) for request_id in waiting]
        assert [result["status"] for result in results] == ["Success"] * 3
        await refused_no_more(http)
    assert server.stop() == 0
    assert "Traceback" not in server.log
    assert rows(disk.folder) == {"predictions": 5, "images": 0}
    assert {path.name for path in (disk.folder / "images").iterdir()} == set(waiting)


async def refused_no_more(http: aiohttp.ClientSession) -> None:
    assert (await finished(http, await submit(http, LARGE)))["status"] == "Success"


async def test_no_image_is_saved_whose_result_has_no_room(disk: Mounted, start: Start) -> None:
    server = start(*OBEDIENT, "--min-free-disk", "0").ready()
    async with aiohttp.ClientSession(server.url) as http:
        disk.fill(leaving=3 * PAGE)  # room for the image, none for a transaction
        await refused(http, "/predict?save_locally=true")
        assert await listed(http) == {}
    assert list(disk.folder.glob("images/*")) == []


async def test_an_image_whose_worker_dies_on_a_full_disk_is_run_once_there_is_room(
    disk: Mounted, start: Start, tmp_path: Path
) -> None:
    server = start(*OBEDIENT, "--min-free-disk", "0", MODEL_FOLDER=str(tmp_path)).ready()
    async with aiohttp.ClientSession(server.url) as http:
        request_id = await submit(http, WAIT)
        await queued(http, running=1)
        disk.fill()
        os.kill(server.children()[0], signal.SIGKILL)
        await queued(http, running=0)  # it waits to be counted as lost
        assert await listed(http) == {request_id: "Pending"}
        disk.make_room()
        await queued(http, running=1)
        (tmp_path / "go").touch()
        assert (await finished(http, request_id))["status"] == "Success"


async def test_a_server_on_a_full_disk_stops_when_it_is_told_to(
    disk: Mounted, start: Start, tmp_path: Path
) -> None:
    arguments = (*OBEDIENT, "--min-free-disk", "0", "--shutdown-grace", "0")
    server = start(*arguments, MODEL_FOLDER=str(tmp_path)).ready()
    async with aiohttp.ClientSession(server.url) as http:
        request_id = await submit(http, WAIT)
        await queued(http, running=1)
        os.kill(server.children()[0], signal.SIGKILL)
        await asyncio.to_thread(server.wait_for_line, "worker 0 is back")
        await queued(http, running=1)  # again, alone; to stop is not its fault and is noted
    disk.fill()
    assert server.stop() == 0, server.log
    assert "Traceback" not in server.log
    disk.make_room()
    (tmp_path / "go").touch()
    async with aiohttp.ClientSession(
        start(*arguments, MODEL_FOLDER=str(tmp_path)).ready().url
    ) as http:
        assert (await finished(http, request_id))["status"] == "Success"
