"""Accepted work outlives the server: restarts, kills, and what was running then."""

import asyncio
import signal
from pathlib import Path

import aiohttp

from tests import models
from tests.integration.conftest import Start
from tests.integration.requests import finished, form, picture, queued, status, submit
from tests.photos import photo

CAT = photo("chelsea.png").read_bytes()
OBEDIENT = ("--model", "tests/models.py:Obedient")


async def test_a_thousand_accepted_photos_all_end_in_success(start: Start) -> None:
    server = start("--log-format", "json").ready()
    photo = Path("examples/cat.jpg").read_bytes()
    async with aiohttp.ClientSession(server.url) as http:
        ids = await asyncio.gather(*(submit(http, photo) for _ in range(1000)))
        results = [await finished(http, request_id) for request_id in ids]
        kept = (await status(http))["results"]

    assert len(set(ids)) == 1000
    assert {result["status"] for result in results} == {"Success"}
    assert kept == {"total": 1000, "Pending": 0, "Success": 1000, "Fail": 0}


async def test_results_outlive_a_restart(start: Start) -> None:
    server = start().ready()
    async with aiohttp.ClientSession(server.url) as http:
        async with http.post("/predict", data=form(CAT)) as reply:
            before = await reply.json()
    assert server.stop() == 0

    async with aiohttp.ClientSession(start().ready().url) as http:
        async with http.get(f"/predictResults/{before['request_id']}") as reply:
            assert await reply.json() == before


async def test_work_accepted_before_a_restart_is_done_after_it(start: Start) -> None:
    await _accepted_then_ended(start, signal.SIGTERM)


async def test_work_accepted_before_a_kill_is_done_after_it(start: Start) -> None:
    await _accepted_then_ended(start, signal.SIGKILL)


async def _accepted_then_ended(start: Start, how: signal.Signals) -> None:
    server = start(*OBEDIENT, "--shutdown-grace", "0", MODEL_FOLDER="/nonexistent").ready()
    async with aiohttp.ClientSession(server.url) as http:
        ids = [await submit(http, picture(models.WAIT)) for _ in range(2)]
        ids += await asyncio.gather(*(submit(http, picture(models.FINE)) for _ in range(198)))
    code = server.stop(how)

    assert code == (0 if how is signal.SIGTERM else -signal.SIGKILL), server.log
    folder = server.data_dir
    (folder / "go").touch()
    async with aiohttp.ClientSession(
        start(*OBEDIENT, MODEL_FOLDER=str(folder)).ready().url
    ) as http:
        results = [await finished(http, request_id) for request_id in ids]
    assert [result["status"] for result in results] == ["Success"] * 200


async def test_a_running_predict_is_finished_before_the_server_stops(
    start: Start, tmp_path: Path
) -> None:
    server = start(*OBEDIENT, MODEL_FOLDER=str(tmp_path)).ready()
    async with aiohttp.ClientSession(server.url) as http:
        asked = asyncio.create_task(http.post("/predict", data=form(picture(models.WAIT))))
        await queued(http, running=1)
        server.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(server.wait_for_line, "stopping")
        (tmp_path / "go").touch()
        async with await asked as reply:
            assert (await reply.json())["status"] == "Success"
    assert server.wait() == 0, server.log


async def test_a_second_signal_ends_the_server_at_once(start: Start, tmp_path: Path) -> None:
    server = start(*OBEDIENT, MODEL_FOLDER=str(tmp_path)).ready()
    async with aiohttp.ClientSession(server.url) as http:
        request_id = await submit(http, picture(models.WAIT))
        await queued(http, running=1)
    workers = server.children()
    server.process.send_signal(signal.SIGTERM)
    server.wait_for_line("stopping")

    assert server.stop(signal.SIGTERM) == -signal.SIGTERM
    assert len(workers) >= 1
    await _gone(workers)
    (tmp_path / "go").touch()
    async with aiohttp.ClientSession(
        start(*OBEDIENT, MODEL_FOLDER=str(tmp_path)).ready().url
    ) as http:
        assert (await finished(http, request_id))["status"] == "Success"


async def test_workers_end_with_a_killed_server(start: Start) -> None:
    server = start().ready()
    workers = server.children()
    assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    assert workers
    await _gone(workers)


async def test_a_deleted_pending_prediction_is_never_run(start: Start, tmp_path: Path) -> None:
    server = start(*OBEDIENT, "--workers", "1", MODEL_FOLDER=str(tmp_path)).ready()
    async with aiohttp.ClientSession(server.url) as http:
        running, waiting = [await submit(http, picture(models.WAIT)) for _ in range(2)]
        await queued(http, running=1)
        for request_id in (running, waiting):
            async with http.delete(f"/delete/{request_id}") as reply:
                assert reply.status == 200
        (tmp_path / "go").touch()
        last = await submit(http, picture(models.FINE))
        assert (await finished(http, last))["status"] == "Success"
        async with http.get("/predictResults") as reply:
            assert [result["request_id"] for result in await reply.json()] == [last]


async def _gone(processes: list[int]) -> None:
    async with asyncio.timeout(10):
        while any(Path(f"/proc/{pid}").exists() for pid in processes):
            await asyncio.sleep(0.01)
