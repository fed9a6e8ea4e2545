"""Power cuts, replayed: of what SQLite wrote, only what was synced is sure to be on the disk.

A VFS below the real store notes every write, truncation, deletion and sync. At each moment when a
call was answered, the files are made again as a power cut at that moment may have left them, and a
plain SQLite has to find in them all that was answered.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import apsw
import pytest

from server.prediction import Prediction, Timings, accepted
from server.store import IdempotencyKey, Limits, Upload
from server.store.sqlite import SQLiteStore
from tests.faults.noting_disk import Disk, NotingVFS

SECTORS = (512, 4096)
CHECKPOINT_PAGES = 40
"""SQLite moves the log into the database after so many pages: here often, to cut in its midst."""


# What was answered


@dataclass
class Ledger:
    """What each prediction was asked to be, one after the other, and how much was answered."""

    asked: dict[str, list[str]] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=dict)

    def may_be(self) -> dict[str, list[str]]:
        """The states in which each may be found."""
        return {name: states[self.answered[name] :] for name, states in self.asked.items()}


class Moment(NamedTuple):
    """A moment when a call was answered: after how many operations, and what may be found."""

    operations: int
    may_be: dict[str, list[str]]


class Customers:
    """Uses a store as the server does, and notes the moment of every answer."""

    def __init__(self, vfs: NotingVFS, store: SQLiteStore) -> None:
        self._vfs = vfs
        self.store = store
        self.ledger = Ledger()
        self.moments: list[Moment] = []

    async def add(self, name: str, size: int) -> Prediction:
        prediction = Prediction(name, accepted().status, accepted().created_at)
        self.ledger.asked[name] = ["absent"]
        self.ledger.answered[name] = 0
        upload = Upload(name.encode() * (size // len(name)), "a.jpg")
        key = IdempotencyKey(f"key {name}", b"print")
        await self._ask({name: "Pending"}, self.store.add(prediction, upload, key))
        return prediction

    async def finish(self, prediction: Prediction) -> None:
        finished = prediction.succeeded(b'{"label":"cat"}', "cats@1", Timings(1, 2, 3))
        await self._ask({prediction.request_id: "Success"}, self.store.finish(finished))

    async def delete(self, prediction: Prediction) -> None:
        await self._ask({prediction.request_id: "absent"}, self.store.delete(prediction.request_id))

    async def delete_all(self) -> None:
        await self._ask(dict.fromkeys(self.ledger.asked, "absent"), self.store.delete_all())

    async def expire(self) -> None:
        """Delete every finished result; nothing else may be going on."""
        found = self.ledger.may_be()
        due = {name: "absent" for name, states in found.items() if states == ["Success"]}
        await self._ask(due, self.store.expire(Limits(None, 0), len(due)))

    async def visit(self, number: int) -> None:
        """What one client asks for, one after the other, while others do the same."""
        for turn in range(4):
            prediction = await self.add(f"{number}-{turn}", 1000 + 9000 * (turn % 2))
            if turn == 3:
                continue
            if turn == 2:
                await self.store.count_attempt(prediction.request_id)
            await self.finish(prediction)
            if turn == 1:
                await self.delete(prediction)

    async def _ask(self, changes: dict[str, str], call: Awaitable[object]) -> None:
        for name, state in changes.items():
            self.ledger.asked[name].append(state)
        await call
        for name in changes:
            self.ledger.answered[name] += 1
        self.note_moment()

    def note_moment(self) -> None:
        self.moments.append(Moment(len(self._vfs.operations), self.ledger.may_be()))


# The replay


def replay(vfs: NotingVFS, moments: list[Moment], folder: Path) -> Counter[str]:
    """Cut the power at every moment, in several ways; what SQLite found wrong, by kind."""
    chance = random.Random(7)
    disk = Disk()
    done = 0
    wrong: Counter[str] = Counter()
    for moment in moments:
        for operation in vfs.operations[done : moment.operations]:
            disk.apply(operation)
        done = moment.operations
        for number, sector in ((0, 0), *enumerate(SECTORS, start=1)):
            files = disk.after_a_cut(chance if number else None, sector)
            wrong += Counter(_wrong(files, moment.may_be, folder))
    return wrong


def _wrong(files: dict[str, bytes], may_be: dict[str, list[str]], folder: Path) -> list[str]:
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    try:
        with closing(apsw.Connection(str(folder / "predictions.db"), vfs="unix")) as plain:
            plain.pragma("synchronous", "off")  # it only looks
            return [*_wrong_in(plain, may_be)]
    except apsw.Error as error:
        return [f"unusable: {error}"]


def _wrong_in(plain: apsw.Connection, may_be: dict[str, list[str]]) -> Iterator[str]:
    if plain.execute("PRAGMA integrity_check").get != "ok":
        yield "corrupt"
    rows: dict[str, str] = dict(plain.execute(STATUSES).fetchall())  # type: ignore[arg-type]
    kept: dict[str, bytes] = dict(plain.execute(IMAGES).fetchall())  # type: ignore[arg-type]
    for name, states in may_be.items():
        if rows.get(name, "absent") not in states:
            yield f"{states[0]} was {rows.get(name, 'absent')}"
    if {name for name, status in rows.items() if status == "Pending"} != set(kept):
        yield "an image without its prediction, or the other way round"
    if any(data.replace(name.encode(), b"") for name, data in kept.items()):
        yield "a broken image"
    if {name for (name,) in plain.execute(KEYS)} != set(rows):
        yield "a key without its prediction, or the other way round"


STATUSES = "SELECT request_id, status FROM predictions"
IMAGES = "SELECT request_id, data FROM images LEFT JOIN predictions USING (seq)"
KEYS = "SELECT request_id FROM idempotency_keys LEFT JOIN predictions USING (seq)"


# The tests


@pytest.fixture
def vfs() -> Iterator[NotingVFS]:
    vfs = NotingVFS()
    yield vfs
    vfs.unregister()
    assert "noting" not in apsw.vfs_names()


@asynccontextmanager
async def opened(
    folder: Path, synchronous: str = "full", *, breaks: bool = False
) -> AsyncIterator[SQLiteStore]:
    broken: list[BaseException] = []
    store = SQLiteStore(folder, broken.append)
    try:
        store._writer._connection.pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        store._writer._connection.pragma("synchronous", synchronous)
        yield store
    finally:
        async with asyncio.timeout(10):
            await store.close()
    assert bool(broken) == breaks


async def busy_day(vfs: NotingVFS, folder: Path, synchronous: str = "full") -> list[Moment]:
    """Clients at the same time, a restart in between; the moments of all answers."""
    loop = asyncio.get_running_loop()
    async with opened(folder, synchronous) as store:
        vfs.before_sync = lambda: _let_answers_out(loop)
        customers = Customers(vfs, store)
        await asyncio.gather(*map(customers.visit, range(8)))
        await customers.expire()
        await asyncio.gather(*map(customers.visit, range(10, 12)))
    vfs.before_sync = lambda: None
    async with opened(folder, synchronous) as store:
        vfs.before_sync = lambda: _let_answers_out(loop)
        customers.store = store
        customers.note_moment()
        await asyncio.gather(*map(customers.visit, range(20, 24)))
        await customers.delete_all()
        await customers.visit(30)
    return customers.moments


def _let_answers_out(loop: asyncio.AbstractEventLoop) -> None:
    """Let whatever was answered before this sync be noted before it too."""

    async def turn() -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    asyncio.run_coroutine_threadsafe(turn(), loop).result(10)


async def test_what_was_answered_survives_a_power_cut_at_any_answer(
    vfs: NotingVFS, tmp_path: Path
) -> None:
    moments = await busy_day(vfs, tmp_path / "data")
    kinds = Counter((operation.kind, operation.name) for operation in vfs.operations)
    assert len(moments) > 100
    assert kinds["sync", "predictions.db"] > 5, "the day had too few checkpoints"
    assert kinds["delete", "predictions.db-wal"] == 2
    assert replay(vfs, moments, tmp_path / "cut") == Counter()


async def test_the_replay_notices_what_was_answered_before_it_was_synced(
    vfs: NotingVFS, tmp_path: Path
) -> None:
    moments = await busy_day(vfs, tmp_path / "data", synchronous="normal")
    wrong = replay(vfs, moments, tmp_path / "cut")
    assert wrong["Pending was absent"] > 10
    assert wrong["Success was Pending"] > 10
    assert "corrupt" not in wrong


# a close that fails is told by SQLite to nobody, but by this VFS to the writer's thread
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("failing", [1, 1000], ids=["once", "until the restart"])
@pytest.mark.parametrize("after", [0, 7, 20, 33])
async def test_what_was_answered_survives_a_failed_sync_a_restart_and_a_power_cut(
    vfs: NotingVFS, tmp_path: Path, after: int, failing: int
) -> None:
    loop = asyncio.get_running_loop()
    async with opened(tmp_path / "data", breaks=True) as store:
        customers = Customers(vfs, store)
        for number in range(after):
            await customers.add(f"before-{number}", 5000)
        vfs.syncs_fail = failing
        results = await asyncio.gather(
            *(customers.add(f"during-{number}", 5000) for number in range(CHECKPOINT_PAGES)),
            return_exceptions=True,
        )
        assert isinstance(results[-1], apsw.IOError)
        with pytest.raises(apsw.IOError):
            await customers.add("after it", 5000)
    vfs.syncs_fail = 0
    async with opened(tmp_path / "data") as store:
        customers.store = store
        vfs.before_sync = lambda: _let_answers_out(loop)
        await asyncio.gather(*map(customers.visit, range(3)))
    assert replay(vfs, customers.moments, tmp_path / "cut") == Counter()
