"""One kill -9 at each step of a prediction, and what must be there afterwards."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp

from tools.load import SECONDS, Server, picture, status, until
from tools.stage import Result, Stage, form, number_of

OTHER, IMAGE = 11, 20
"""The numbers of an image that was there before, and of the one at whose step the kill comes (one
that is to be saved beside its result)."""


class CannotTraceError(Exception):
    """The step needs strace, which is missing or not permitted; the sentence says which."""


class Step(NamedTuple):
    """A moment in the life of a prediction.

    Attributes:
        name: What has just happened.
        moment: When exactly the kill comes.
        kill: Sends `IMAGE` and kills the server then; whether the client got its answer.
        recorded: Whether the image must be there afterwards, as a Success; else it must not.
        begun: How often the model must have begun it, before the kill and after it.
        ended: How often it must have ended it.
    """

    name: str
    moment: str
    kill: Callable[[Stage], Awaitable[bool]]
    recorded: bool
    begun: int
    ended: int


ARGUMENTS = ("--workers", "1", "--min-free-disk", "0", "--export-interval", "900000")


async def take(step: Step, folder: Path) -> list[str]:
    """Kill at a step and start again; what does not hold then.

    Raises:
        CannotTraceError: The step can't be taken on this machine.
    """
    with Stage(folder, *ARGUMENTS) as stage:
        await stage.server.ready()
        await _post(stage.server, "predict", OTHER)  # so that the WAL has its header
        await _backed_up(stage.server)  # from now on the exporter writes nothing
        receipt = await step.kill(stage)
        await stage.server.gone()  # a worker that is held, too
        (stage.folder / "hold").unlink(missing_ok=True)
        stage.launch()
        await stage.rest()
        results = await stage.results()
        await stage.server.stop()
    return _broken(step, stage, results, receipt=receipt) + stage.remains(results)


def _broken(step: Step, stage: Stage, results: Mapping[str, Result], *, receipt: bool) -> list[str]:
    """What the step says of the image and is not so."""
    found = [result["status"] for result in results.values() if number_of(result) == IMAGE]
    runs = stage.runs()
    facts = {
        "recorded": (found, ["Success"] * step.recorded),
        "begun": (runs[f"begin {IMAGE}"], step.begun),
        "ended": (runs[f"end {IMAGE}"], step.ended),
        "exit code": (stage.server.process.returncode, 0),
    }
    wrong = [
        f"{step.name}: {key} {is_}, not {due}" for key, (is_, due) in facts.items() if is_ != due
    ]
    if receipt and not found:
        wrong.append(f"{step.name}: the client had its receipt, and nothing is there")
    return wrong


async def _received(stage: Stage) -> bool:
    """Half of the body is sent, after the server asked for it."""
    data = picture(IMAGE)
    address = urlsplit(stage.server.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = (
        "POST /asyncPredict HTTP/1.1", f"Host: {address.netloc}", "Content-Type: image/png",
        f"Content-Length: {len(data)}", "Expect: 100-continue",
    )  # fmt: skip
    writer.write("\r\n".join([*head, "\r\n"]).encode())
    await reader.readuntil(b"100 Continue\r\n\r\n")
    writer.write(data[: len(data) // 2])
    await writer.drain()
    stage.server.kill()
    rest = await _rest(reader)
    writer.close()
    return bool(rest)


async def _committing(stage: Stage) -> bool:
    """The second write of its transaction to the WAL, which is torn then."""
    return await _traced(stage, "pwrite64", 2)


async def _committed(stage: Stage) -> bool:
    """The fdatasync that ends its transaction: the WAL holds all of it, the client no answer."""
    return await _traced(stage, "fdatasync", 1)


async def _answered(stage: Stage) -> bool:
    """The receipt has come, while the one worker is held by another image."""
    (stage.folder / "hold").touch()
    await _post(stage.server, "asyncPredict", OTHER + 90)
    await until(lambda: stage.runs()[f"begin {OTHER + 90}"], "the other image's predict")
    receipt = await _post(stage.server, "asyncPredict", IMAGE)
    stage.server.kill()
    return receipt


async def _claimed(stage: Stage) -> bool:
    """The model kills the server when it begins the image."""
    (stage.folder / "kill-at-begin").touch()
    return await _post(stage.server, "asyncPredict", IMAGE)


async def _predicted(stage: Stage) -> bool:
    """The model kills the server when it has its answer."""
    (stage.folder / "kill-at-end").touch()
    return await _post(stage.server, "asyncPredict", IMAGE)


async def _recorded(stage: Stage) -> bool:
    """The second fdatasync, that of the answer's transaction, right after the acceptance's."""
    return await _traced(stage, "fdatasync", 2)


async def _saved(stage: Stage) -> bool:
    """Not accepted but blocking: its image is saved, its transaction half written."""
    return await _traced(stage, "pwrite64", 2, "predict")


STEPS = (
    Step("received", "half of its body was sent", _received, False, 0, 0),
    Step("committing", "its transaction is half written", _committing, False, 0, 0),
    Step("committed", "it is written, the client has no receipt yet", _committed, True, 1, 1),
    Step("answered", "the client has its receipt, the worker is held", _answered, True, 1, 1),
    Step("claimed", "the model begins it", _claimed, True, 2, 1),
    Step("predicted", "the model has its answer", _predicted, True, 2, 2),
    Step("recorded", "the answer's transaction is written", _recorded, True, 1, 1),
    Step("saved", "blocking: its image is saved, the record half written", _saved, False, 1, 1),
)


async def _traced(stage: Stage, syscall: str, when: int, path: str = "asyncPredict") -> bool:
    async with killed_at(stage.server, syscall, when):
        return await _post(stage.server, path, IMAGE)


@contextlib.asynccontextmanager
async def killed_at(server: Server, syscall: str, when: int) -> AsyncIterator[None]:
    """Have the server killed on entering a system call for the so-many-th time.

    Of the calls that are named here, only the store makes any, all from one thread.
    """
    command = ("strace", "-f", "-o", "/dev/null", "-p", str(server.process.pid))
    inject = ("-e", f"trace={syscall}", "-e", f"inject={syscall}:signal=KILL:when={when}")
    try:
        tracer = await asyncio.create_subprocess_exec(
            *command, *inject, stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
    except FileNotFoundError:
        raise CannotTraceError("strace is not installed: apt-get install strace") from None
    line = (await tracer.stderr.readline()).decode().strip() if tracer.stderr else ""
    if "attached" not in line:
        await tracer.wait()
        raise CannotTraceError(f"the server can't be traced here: {line}")
    yield
    await asyncio.wait_for(tracer.communicate(), SECONDS)


async def _backed_up(server: Server) -> None:
    async with aiohttp.ClientSession(server.url) as http:
        while (await status(http))["backup"]["waiting"]:  # noqa: ASYNC110 - another process's
            await asyncio.sleep(0.01)


async def _post(server: Server, path: str, number: int) -> bool:
    """Whether the image was answered; False when the server was killed instead."""
    try:
        async with (
            aiohttp.ClientSession(server.url) as http,
            http.post(f"/{path}", data=form(number)) as reply,
        ):
            return reply.status == 200 and bool(await reply.json())
    except aiohttp.ClientError:
        return False


async def _rest(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionError:
        return b""
