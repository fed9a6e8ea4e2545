"""What a client may ask for beside the work itself: to wait, not to wait, not to do it twice."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests import models
from tests.integration.conftest import Start
from tests.integration.requests import finished, form, picture, queued, submit
from tests.server_process import ServerProcess, ready_server

OBEDIENT = ("--model", "tests/models.py:Obedient", "--runner", "thread", "--workers", "1")
FINE, RAISE, WAIT = map(picture, (models.FINE, models.RAISE, models.WAIT))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shared server's model looks for the file `go`: until then it holds WAIT images."""
    return tmp_path_factory.mktemp("model")


@pytest.fixture(scope="module")
def shared(folder: Path) -> Iterator[ServerProcess]:
    """A server for those tests that leave it running."""
    with ready_server(folder / "data", *OBEDIENT, MODEL_FOLDER=str(folder)) as server:
        yield server


@pytest.fixture
async def http(shared: ServerProcess, folder: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of the shared server, which is idle and empty."""
    async with aiohttp.ClientSession(shared.url) as http:
        (folder / "go").unlink(missing_ok=True)
        yield http
        (folder / "go").touch()
        async with http.delete("/deleteAll") as reply:
            assert reply.status == 200
        await queued(http, running=0)


@pytest.fixture
def held(start: Start, tmp_path: Path) -> ServerProcess:
    """A server of the test's own."""
    return start(*OBEDIENT, MODEL_FOLDER=str(tmp_path)).ready()


class Answer:
    """A reply, read to its end."""

    def __init__(self, reply: aiohttp.ClientResponse, body: Any) -> None:
        self.status, self.headers, self.body = reply.status, reply.headers, body

    @property
    def id(self) -> str:
        return str(self.body["request_id"])


async def post(
    http: aiohttp.ClientSession, path: str = "/predict", data: bytes = FINE, **headers: str
) -> Answer:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    async with http.post(path, data=form(data), headers=headers) as reply:
        return Answer(reply, await reply.json())


async def get(http: aiohttp.ClientSession, request_id: str, prefer: str = "") -> Answer:
    headers = {"Prefer": prefer} if prefer else {}
    async with http.get(f"/predictResults/{request_id}", headers=headers) as reply:
        return Answer(reply, await reply.json())


async def listed(http: aiohttp.ClientSession) -> list[str]:
    async with http.get("/predictResults") as reply:
        return [result["request_id"] for result in await reply.json()]


# Not waiting for it


@pytest.mark.parametrize("prefer", ["respond-async", "wait=5, Respond-Async", "respond-async;x=y"])
async def test_a_predict_that_prefers_it_is_accepted_and_run_later(
    http: aiohttp.ClientSession, prefer: str
) -> None:
    answer = await post(http, Prefer=prefer)
    assert answer.status == 202
    assert answer.headers["Preference-Applied"] == "respond-async"
    assert answer.headers["Location"] == f"/predictResults/{answer.id}"
    assert answer.body["status"] == "Success"
    assert (await finished(http, answer.id))["status"] == "Success"


async def test_a_predict_that_prefers_nothing_waits(http: aiohttp.ClientSession) -> None:
    for prefer in ("", "return=minimal", ";;==,,"):
        answer = await post(http, Prefer=prefer)
        assert answer.status == 200
        assert answer.body["response"]["label"] == "obeyed"
        assert "Preference-Applied" not in answer.headers


async def test_a_plain_async_predict_answers_200(http: aiohttp.ClientSession) -> None:
    answer = await post(http, "/asyncPredict")
    assert (answer.status, answer.body["response"]) == (200, "Async request got sent")
    assert answer.headers["Location"] == f"/predictResults/{answer.id}"


async def test_an_accepted_predict_survives_a_kill(start: Start, tmp_path: Path) -> None:
    first = start(*OBEDIENT, MODEL_FOLDER=str(tmp_path)).ready()
    async with aiohttp.ClientSession(first.url) as http:
        answer = await post(http, data=WAIT, Prefer="respond-async")
    first.process.kill()
    first.wait()
    (tmp_path / "go").touch()
    second = start(*OBEDIENT, MODEL_FOLDER=str(tmp_path)).ready()
    async with aiohttp.ClientSession(second.url) as http:
        assert (await finished(http, answer.id))["status"] == "Success"


# Waiting for a result


async def test_a_reader_who_waits_gets_the_result_as_soon_as_it_is_there(
    http: aiohttp.ClientSession, folder: Path
) -> None:
    request_id = await submit(http, WAIT)
    waiting = [asyncio.create_task(get(http, request_id, "wait=30")) for _ in range(5)]
    await queued(http, running=1)
    began = time.monotonic()
    (folder / "go").touch()
    answers = await asyncio.gather(*waiting)
    assert time.monotonic() - began < 10
    assert [answer.body["status"] for answer in answers] == ["Success"] * 5
    assert answers[0].headers["Preference-Applied"] == "wait=30"


async def test_a_reader_waits_no_longer_than_asked(http: aiohttp.ClientSession) -> None:
    request_id = await submit(http, WAIT)
    began = time.monotonic()
    answer = await get(http, request_id, "wait=1")
    assert 1 <= time.monotonic() - began < 10
    assert (answer.status, answer.body["status"]) == (200, "Pending")


@pytest.mark.parametrize("prefer", ["", "wait", "wait=soon", "wait=-5", "wait=0", "wait=1.5"])
async def test_a_reader_who_does_not_ask_does_not_wait(
    http: aiohttp.ClientSession, prefer: str
) -> None:
    request_id = await submit(http, WAIT)
    async with asyncio.timeout(10):
        answer = await get(http, request_id, prefer)
    assert answer.body["status"] == "Pending"
    assert "Preference-Applied" not in answer.headers


async def test_a_long_wait_is_cut_and_said_so(http: aiohttp.ClientSession) -> None:
    done = await post(http)
    answer = await get(http, done.id, "wait=86400")
    assert answer.headers["Preference-Applied"] == "wait=60"


async def test_a_reader_who_waits_is_told_of_a_deletion(http: aiohttp.ClientSession) -> None:
    ids = [await submit(http, WAIT) for _ in range(2)]
    waiting = [asyncio.create_task(get(http, each, "wait=30")) for each in ids]
    await queued(http, running=1)
    async with http.delete(f"/delete/{ids[0]}") as reply:
        assert reply.status == 200
    assert (await waiting[0]).status == 404
    async with http.delete("/deleteAll") as reply:
        assert reply.status == 200
    assert (await waiting[1]).status == 404


async def test_a_reader_who_waits_keeps_no_server_from_stopping(
    held: ServerProcess, tmp_path: Path
) -> None:
    async with aiohttp.ClientSession(held.url) as http:
        request_id = await submit(http, WAIT)
        waiting = asyncio.create_task(get(http, request_id, "wait=60"))
        await queued(http, running=1)
        held.process.terminate()
        answer = await waiting
        assert (answer.status, answer.body["status"]) == (200, "Pending")
    (tmp_path / "go").touch()
    assert await asyncio.to_thread(held.wait) == 0


# Idempotency-Key


async def test_a_key_answers_a_repeated_predict_also_after_a_restart(
    held: ServerProcess, start: Start
) -> None:
    async with aiohttp.ClientSession(held.url) as http:
        first = await post(http, Idempotency_Key="a")
        failed = await post(http, data=RAISE, Idempotency_Key="b")
        accepted = await post(http, "/asyncPredict", Idempotency_Key="a")
        await finished(http, accepted.id)
    assert (first.status, failed.status, accepted.status) == (200, 500, 200)
    held.process.kill()
    held.wait()
    async with aiohttp.ClientSession(start(*OBEDIENT).ready().url) as again:
        assert (await post(again, Idempotency_Key="a")).body == first.body
        repeated = await post(again, data=RAISE, Idempotency_Key="b")
        assert (repeated.status, repeated.body) == (500, failed.body)
        assert (await post(again, "/asyncPredict", Idempotency_Key="a")).body == accepted.body
        assert sorted(await listed(again)) == sorted([first.id, failed.id, accepted.id])


@pytest.mark.parametrize("path", ["/predict", "/asyncPredict"])
async def test_requests_that_come_together_under_a_key_are_one(
    http: aiohttp.ClientSession, folder: Path, path: str
) -> None:
    asking = [asyncio.create_task(post(http, path, WAIT, Idempotency_Key="a")) for _ in range(20)]
    await queued(http, running=1)
    (folder / "go").touch()
    answers = await asyncio.gather(*asking)
    assert {answer.status for answer in answers} == {200}
    assert [answers[0].id] == await listed(http) == list({answer.id for answer in answers})


async def test_a_client_that_hangs_up_and_asks_again_is_served_once(
    http: aiohttp.ClientSession, folder: Path
) -> None:
    first = asyncio.create_task(post(http, data=WAIT, Idempotency_Key="a"))
    await queued(http, running=1)
    first.cancel()
    second = asyncio.create_task(post(http, data=WAIT, Idempotency_Key="a"))
    (folder / "go").touch()
    answer = await second
    assert answer.status == 200
    assert await listed(http) == [answer.id]


async def test_another_image_under_a_key_is_a_conflict_and_later_an_error(
    http: aiohttp.ClientSession, folder: Path
) -> None:
    first = asyncio.create_task(post(http, data=WAIT, Idempotency_Key="a"))
    await queued(http, running=1)
    answer = await post(http, data=FINE, Idempotency_Key="a")
    assert (answer.status, answer.body["error"]) == (409, "idempotency_conflict")
    (folder / "go").touch()
    assert (await first).status == 200
    answer = await post(http, data=FINE, Idempotency_Key="a")
    assert (answer.status, answer.body["error"]) == (422, "idempotency_key_reused")
    answer = await post(http, "/predict?save_locally=true", data=WAIT, Idempotency_Key="a")
    assert answer.status == 422
    assert await listed(http) == [(await first).id]


async def test_a_key_is_free_again_when_its_result_is_deleted_or_its_time_is_over(
    start: Start,
) -> None:
    server = start(*OBEDIENT, "--keep-keys", "0").ready()
    async with aiohttp.ClientSession(server.url) as http:
        first = await post(http, Idempotency_Key="a")
        while (second := await post(http, Idempotency_Key="a")).id == first.id:
            pass  # the same millisecond
    server.stop()
    async with aiohttp.ClientSession(start(*OBEDIENT).ready().url) as http:
        third = await post(http, Idempotency_Key="b")
        async with http.delete(f"/delete/{third.id}") as reply:
            assert reply.status == 200
        fourth = await post(http, Idempotency_Key="b")
        assert len({answer.id for answer in (first, second, third, fourth)}) == 4


async def test_bad_input_uses_up_no_key(http: aiohttp.ClientSession) -> None:
    assert (await post(http, data=FINE[:50], Idempotency_Key="a")).status == 422
    assert (await post(http, Idempotency_Key="a")).status == 200


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
async def test_a_key_that_is_none_is_refused(http: aiohttp.ClientSession, key: str) -> None:
    answer = await post(http, Idempotency_Key=key)
    assert (answer.status, answer.body["error"]) == (400, "invalid_parameter")
    assert await listed(http) == []


# Retention


async def test_the_newest_results_are_kept_across_a_restart(
    held: ServerProcess, start: Start, tmp_path: Path
) -> None:
    async with aiohttp.ClientSession(held.url) as http:
        ids = [(await post(http, "/predict?save_locally=true")).id for _ in range(5)]
        pending = await submit(http, WAIT)
    held.process.kill()
    held.wait()
    server = start(*OBEDIENT, "--keep-results", "30d,3", MODEL_FOLDER=str(tmp_path)).ready()
    async with aiohttp.ClientSession(server.url) as again:
        async with asyncio.timeout(20):
            while len(await listed(again)) != 3:
                await asyncio.sleep(0.01)
        assert sorted(await listed(again)) == sorted([*ids[-2:], pending])
        async with asyncio.timeout(20):
            while {path.name for path in (held.data_dir / "images").iterdir()} != set(ids[-2:]):
                await asyncio.sleep(0.01)
        (tmp_path / "go").touch()
        assert (await finished(again, pending))["status"] == "Success"
