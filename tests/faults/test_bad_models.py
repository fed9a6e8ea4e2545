"""Models that fail in every way: the image at fault ends in Fail, all others are answered."""

import random
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from tests import models
from tests.faults.conftest import Start
from tests.integration.requests import at_once, finished, form, picture, status, submit
from tests.server_process import ServerProcess, ready_server

UNRULY = ("--model", "tests/models.py:Unruly", "--workers", "2")
GOOD = 100  # of each kind: blocking and async
CLIENTS = 16
LOST_AT_THREE = "That was attempt 3: it is given up."


class Fault(NamedTuple):
    name: str
    colour: tuple[int, int, int]
    status: int
    error: str
    sentence: str

    def __str__(self) -> str:
        return self.name


RAISES = Fault("raises", models.RAISE, 500, "model_error", "ValueError: no such thing")
MISCOUNTS = Fault(
    "miscounts", models.MISCOUNT, 500, "model_error", "2 results, but the batch has 1"
)
NAN = Fault("nan", models.NAN, 500, "model_error", "confidence: input should be a finite number")
NOT_JSON = Fault(
    "not json", models.NOT_JSON, 500, "model_error", "found: it can't be written as JSON"
)
HUGE = Fault("huge", models.HUGE, 500, "model_error", "its JSON is larger than 16 MiB")
EXITS = Fault("exits", models.EXIT, 500, "worker_lost", "with exit code 3")
QUITS = Fault("quits", models.QUIT, 500, "worker_lost", "")
SEGFAULTS = Fault("segfaults", models.SEGFAULT, 500, "worker_lost", "by signal 11")
HANGS = Fault("hangs", models.HANG, 504, "predict_timeout", "did not answer within 1 s")

CONTAINED = (RAISES, MISCOUNTS, NAN, NOT_JSON, HUGE, QUITS)  # in a thread too
TRIED_AGAIN = {"worker_lost", "predict_timeout"}


@pytest.fixture(scope="module")
def runner(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def unruly(runner: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with a model that does what an image says; no image may make it end."""
    folder = tmp_path_factory.mktemp(runner)
    arguments = (*UNRULY, "--runner", runner)
    with ready_server(folder / "data", *arguments, MODEL_FOLDER=str(folder)) as server:
        yield server


@pytest.mark.parametrize(
    ("runner", "fault"),
    [
        *[("process", fault) for fault in (*CONTAINED, EXITS, SEGFAULTS)],
        *[("thread", fault) for fault in CONTAINED],
    ],
    indirect=["runner"],
    ids=str,
)
async def test_an_image_on_which_the_model_fails_fails_alone(
    unruly: ServerProcess, fault: Fault
) -> None:
    await _mix(unruly.url, fault)


@pytest.mark.parametrize("runner", ["process", "thread"], indirect=True)
async def test_an_image_on_which_the_model_hangs_fails_alone(
    start: Start, runner: str, tmp_path: Path
) -> None:
    arguments = (*UNRULY, "--runner", runner, "--predict-timeout", "1")
    await _mix(start(*arguments, MODEL_FOLDER=str(tmp_path)).ready().url, HANGS)


async def _mix(url: str, fault: Fault) -> None:
    """Good images and bad ones, blocking and async, in batches: each ends as it should."""
    async with aiohttp.ClientSession(url) as http:
        works: list[Callable[[], Coroutine[Any, Any, None]]] = [
            *[lambda: _predicts_well(http), lambda: _submits_well(http)] * GOOD,
            *[lambda: _predicts_badly(http, fault), lambda: _submits_badly(http, fault)],
        ]
        random.Random(5).shuffle(works)
        await at_once(works, CLIENTS)


async def _predicts_well(http: aiohttp.ClientSession) -> None:
    async with http.post("/predict", data=form(picture(models.FINE))) as reply:
        result = await reply.json()
    assert (reply.status, result["status"]) == (200, "Success"), result


async def _submits_well(http: aiohttp.ClientSession) -> None:
    result = await finished(http, await submit(http, picture(models.FINE)))
    assert result["status"] == "Success", result


async def _predicts_badly(http: aiohttp.ClientSession, fault: Fault) -> None:
    async with http.post("/predict", data=form(picture(fault.colour))) as reply:
        told = await reply.json()
    assert (reply.status, told["status"], told["error"]) == (fault.status, "Fail", fault.error)
    assert fault.sentence in told["response"]
    recorded = await finished(http, told["request_id"])
    assert {key: recorded[key] for key in told} == told


async def _submits_badly(http: aiohttp.ClientSession, fault: Fault) -> None:
    result = await finished(http, await submit(http, picture(fault.colour)))
    assert (result["status"], result["error"]) == ("Fail", fault.error)
    assert fault.sentence in result["response"]
    assert (LOST_AT_THREE in result["response"]) == (fault.error in TRIED_AGAIN)


async def test_an_image_that_takes_its_worker_down_three_times_is_given_up(
    start: Start, tmp_path: Path
) -> None:
    server = start(*UNRULY, MODEL_FOLDER=str(tmp_path)).ready()
    async with aiohttp.ClientSession(server.url) as http:
        await _submits_badly(http, SEGFAULTS)
    assert _begun(tmp_path, SEGFAULTS.colour) == 3


@pytest.mark.parametrize(
    ("runner", "colour"),
    [("process", models.KILL), ("thread", models.SEGFAULT)],
    indirect=["runner"],
)
async def test_an_image_that_takes_the_server_down_is_given_up_after_some_restarts(
    start: Start, tmp_path: Path, runner: str, colour: tuple[int, int, int]
) -> None:
    arguments = (*UNRULY, "--runner", runner)
    server = start(*arguments, MODEL_FOLDER=str(tmp_path)).ready()
    async with aiohttp.ClientSession(server.url) as http:
        good = [await submit(http, picture(models.WAIT)) for _ in range(20)]
        bad = await submit(http, picture(colour))
    (tmp_path / "go").touch()
    server.wait()
    deaths = 1
    while (server := start(*arguments, MODEL_FOLDER=str(tmp_path))) and not await _ends(
        server, bad
    ):
        deaths += 1
    async with aiohttp.ClientSession(server.url) as http:
        results = [await finished(http, request_id) for request_id in (bad, *good)]

    assert results[0]["error"] == "worker_lost"
    assert LOST_AT_THREE in results[0]["response"]
    assert [result["status"] for result in results] == ["Fail", *["Success"] * 20]
    assert deaths == _begun(tmp_path, colour) == 4  # at the first, nobody was suspected


async def _ends(server: ServerProcess, request_id: str) -> bool:
    """Whether the prediction ends; False when the server does."""
    server.ready()
    try:
        async with aiohttp.ClientSession(server.url) as http:
            await finished(http, request_id)
    except aiohttp.ClientError:
        server.wait()
        return False
    return True


async def test_a_worker_whose_model_leaks_is_replaced_in_time(start: Start, tmp_path: Path) -> None:
    server = start(*UNRULY, "--recycle-after", "20", MODEL_FOLDER=str(tmp_path)).ready()
    before = max(map(_resident, server.children()))
    async with aiohttp.ClientSession(server.url) as http:

        async def leaks() -> None:
            async with http.post("/predict", data=form(picture(models.LEAK))) as reply:
                assert reply.status == 200, await reply.text()

        await at_once([leaks] * 200, CLIENTS)
        workers = (await status(http))["workers"]

    assert workers["restarts"] >= 200 // 27 - 2  # each ran 20, and what else was in its last batch
    for pid in server.children():
        assert _resident(pid) < before + 27 * 4_000_000 + 20_000_000


def _begun(folder: Path, colour: tuple[int, int, int]) -> int:
    return (folder / "begun").read_text().splitlines().count(str(colour))


def _resident(pid: int) -> int:
    """Bytes of memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
