"""Stores for tests, what goes into them, and a look at them from outside."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import apsw

from server.prediction import Prediction, Status, Timings, accepted
from server.store import Query, Upload
from server.store.sqlite import SQLiteStore

UPLOAD = Upload(bytes(range(256)) * 20, "кот & co.jpg", save_locally=True)
LARGE = Upload(bytes(500_000), "large.jpg")
TIMINGS = Timings(0.5, 1.25, 30.0)
NOON = 1_769_860_800_000


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[SQLiteStore]:
    broken: list[BaseException] = []
    store = SQLiteStore(folder, broken.append)
    try:
        yield store
    finally:
        async with asyncio.timeout(10):
            await store.close()
    assert broken == []


def made(status: Status = Status.PENDING, created_at: int = NOON) -> Prediction:
    prediction = Prediction(accepted().request_id, Status.PENDING, created_at)
    match status:
        case Status.SUCCESS:
            return prediction.succeeded(b'{"label":"cat"}', "cats@2", TIMINGS)
        case Status.FAIL:
            return prediction.failed("model_error", "The model raised: Ä.")
    return prediction


def connections(folder: Path) -> list[apsw.Connection]:
    """The store's own connections, for a look at them while it is idle."""
    path = str(folder / "predictions.db")
    return [each for each in apsw.connections() if each.filename == path]


def writing(folder: Path) -> apsw.Connection:
    (connection,) = [each for each in connections(folder) if not each.readonly("main")]
    return connection


def another_program(folder: Path) -> closing[apsw.Connection]:
    return closing(apsw.Connection(str(folder / "predictions.db")))


@asynccontextmanager
async def busy(store: SQLiteStore, folder: Path) -> AsyncIterator[list[None]]:
    """Keep the store's writer inside a transaction; gives a list that grows with each commit."""
    loop, begun, gate = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    commits: list[None] = []

    def hook() -> bool:
        commits.append(None)
        loop.call_soon_threadsafe(begun.set)
        return not gate.wait(10)  # False: let it commit

    writing(folder).set_commit_hook(hook)
    call = asyncio.create_task(store.delete("unknown"))
    await begun.wait()
    yield commits
    gate.set()
    await call


def uploads_kept(folder: Path) -> int:
    with another_program(folder) as connection:
        found: int = connection.execute("SELECT count(*) FROM images").get
    return found


async def every_id(store: SQLiteStore, query: Query) -> list[str]:
    """All that matches, page by page."""
    ids: list[str] = []
    while True:
        page = await store.page(query)
        assert len(page.predictions) <= query.limit
        ids += [prediction.request_id for prediction in page.predictions]
        assert len(ids) == len(set(ids))
        if page.after is None:
            return ids
        query = Query(query.limit, query.status, query.since, page.after)
