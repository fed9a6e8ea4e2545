"""The requests that tests make, and the waiting for what they started."""

import asyncio
import io
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aiohttp
from PIL import Image


def form(data: bytes, name: str = "photo.jpg", **fields: str) -> aiohttp.FormData:
    """A form with an image, as curl -F sends it."""
    body = aiohttp.FormData(fields, quote_fields=False)
    body.add_field("image", data, filename=name)
    return body


def picture(colour: tuple[int, int, int], size: tuple[int, int] = (32, 24)) -> bytes:
    """A PNG of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


async def submit(http: aiohttp.ClientSession, data: bytes, **fields: str) -> str:
    """Post to /asyncPredict; the request id."""
    async with http.post("/asyncPredict", data=form(data, **fields)) as reply:
        assert reply.status == 200, await reply.text()
        body = await reply.json()
    return str(body["request_id"])


async def finished(http: aiohttp.ClientSession, request_id: str) -> dict[str, Any]:
    """The result of an accepted prediction, asked for until it is no longer Pending."""
    async with asyncio.timeout(60):
        while True:
            async with http.get(f"/predictResults/{request_id}") as reply:
                result: dict[str, Any] = await reply.json()
            if result["status"] != "Pending":
                return result
            await asyncio.sleep(0.01)


async def at_once(works: Sequence[Callable[[], Awaitable[None]]], clients: int) -> None:
    """Do all of the works in their order, so many at a time; the first that fails ends it."""
    left = iter(works)

    async def client() -> None:
        for work in left:
            await work()

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())


async def status(http: aiohttp.ClientSession) -> dict[str, Any]:
    """The figures of `GET /status`."""
    async with http.get("/status") as reply:
        assert reply.status == 200
        figures: dict[str, Any] = await reply.json()
    return figures


async def queued(http: aiohttp.ClientSession, **figures: int) -> None:
    """Ask for the status until its queue has these figures: `running`, `waiting`."""
    async with asyncio.timeout(60):
        while not figures.items() <= (await status(http))["queue"].items():
            await asyncio.sleep(0.01)


async def exported(http: aiohttp.ClientSession) -> None:
    """Ask for the status until nothing waits to be backed up."""
    async with asyncio.timeout(60):
        while (await status(http))["backup"]["waiting"]:
            await asyncio.sleep(0.01)
