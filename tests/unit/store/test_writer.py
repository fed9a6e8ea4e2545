import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import NamedTuple

import apsw
import pytest

from server.errors import StorageFullError
from server.store.writer import MAX_GROUP, Writer

Work = Callable[[apsw.Connection], int]


class Running(NamedTuple):
    writer: Writer
    connection: apsw.Connection
    commits: list[None]
    broken: list[BaseException]

    async def group(self, *works: Work) -> list[int | BaseException]:
        """What becomes of calls that wait together while the writer is busy with another one."""
        async with self.busy():
            calls = [asyncio.create_task(self.writer.run(work)) for work in works]
            await asyncio.sleep(0)  # each task's first step puts its call into the queue
        return await asyncio.gather(*calls, return_exceptions=True)

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """Keep the writer inside a call."""
        loop, begun, gate = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

        def work(_: apsw.Connection) -> bool:
            loop.call_soon_threadsafe(begun.set)
            return gate.wait(10)

        call = asyncio.create_task(self.writer.run(work))
        await begun.wait()
        yield
        gate.set()
        assert await call

    async def names(self) -> list[object]:
        rows = await self.writer.run(
            lambda connection: connection.execute(
                "SELECT name FROM things ORDER BY name"
            ).fetchall()
        )
        return [row[0] for row in rows]


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    connection = apsw.Connection(str(tmp_path / "things.db"))
    connection.pragma("journal_mode", "wal")
    connection.transaction_mode = "IMMEDIATE"
    connection.execute("CREATE TABLE things (name PRIMARY KEY, data)")
    connection.execute(
        "CREATE TABLE deferred (name REFERENCES things DEFERRABLE INITIALLY DEFERRED)"
    )
    connection.pragma("foreign_keys", 1)
    commits: list[None] = []

    def count() -> bool:
        commits.append(None)
        return False  # let it commit

    connection.set_commit_hook(count)
    broken: list[BaseException] = []
    writer = Writer(connection, broken.append)
    yield Running(writer, connection, commits, broken)
    async with asyncio.timeout(10):
        await writer.close()


def insert(name: str, size: int = 0) -> Work:
    def work(connection: apsw.Connection) -> int:
        connection.execute("INSERT INTO things VALUES (?, zeroblob(?))", (name, size))
        return len(name)

    return work


def insert_then_raise(name: str) -> Work:
    def work(connection: apsw.Connection) -> int:
        insert(name)(connection)
        raise KeyError(name)

    return work


def insert_what_only_the_commit_refuses(connection: apsw.Connection) -> int:
    connection.execute("INSERT INTO deferred VALUES ('of no thing')")
    return 1


def names_in_file(connection: apsw.Connection) -> set[str]:
    with closing(apsw.Connection(connection.filename)) as other:
        return {str(name) for (name,) in other.execute("SELECT name FROM things")}


def let_the_file_grow_by(pages: int) -> Work:
    def work(connection: apsw.Connection) -> int:
        size: int = connection.pragma("page_count")
        most: int = connection.pragma("max_page_count", size + pages)
        return most

    return work


async def test_a_call_is_answered_once_another_connection_can_read_it(running: Running) -> None:
    assert await running.writer.run(insert("cat")) == len("cat")
    assert names_in_file(running.connection) == {"cat"}


async def test_calls_that_wait_together_share_one_commit(running: Running) -> None:
    names = [f"{number:03}" for number in range(100)]
    assert await running.group(*map(insert, names)) == [3] * 100
    assert len(running.commits) == 2  # of the call that kept them waiting, and theirs
    assert await running.names() == names


async def test_a_commit_is_shared_by_so_many_and_no_more(running: Running) -> None:
    await running.group(*(insert(f"{number}") for number in range(MAX_GROUP + 1)))
    assert len(running.commits) == 3


async def test_a_call_that_raises_is_undone_alone(running: Running) -> None:
    ant, bee, cat = await running.group(insert("ant"), insert_then_raise("bee"), insert("cat"))
    assert (ant, cat) == (3, 3)
    assert isinstance(bee, KeyError)
    assert await running.names() == ["ant", "cat"]
    assert running.broken == []


async def test_a_call_that_breaks_a_constraint_is_undone_alone(running: Running) -> None:
    await running.writer.run(insert("ant"))
    ant, cat = await running.group(insert("ant"), insert("cat"))
    assert isinstance(ant, apsw.ConstraintError)
    assert cat == 3
    assert await running.names() == ["ant", "cat"]


async def test_a_caller_who_leaves_does_not_undo_what_it_asked_for(running: Running) -> None:
    async with running.busy():
        leaving = asyncio.create_task(running.writer.run(insert("cat")))
        await asyncio.sleep(0)
        leaving.cancel()
    await asyncio.wait([leaving])
    assert leaving.cancelled()
    assert await running.names() == ["cat"]


async def test_a_full_database_is_told_to_the_whole_group_and_nothing_of_it_is_kept(
    running: Running,
) -> None:
    await running.writer.run(let_the_file_grow_by(2))
    results = await running.group(insert("ant"), insert("bee", 100_000), insert("cat"))
    assert [type(result) for result in results] == [StorageFullError] * 3
    assert names_in_file(running.connection) == set()
    assert running.broken == []


async def test_a_disk_that_has_room_again_is_written_again(running: Running) -> None:
    await running.writer.run(let_the_file_grow_by(2))
    with pytest.raises(StorageFullError, match="disk is full"):
        await running.writer.run(insert("bee", 100_000))
    assert await running.writer.run(insert("ant")) == 3
    await running.writer.run(let_the_file_grow_by(100))
    await running.writer.run(insert("bee", 100_000))
    assert await running.names() == ["ant", "bee"]
    assert running.broken == []


async def test_after_a_commit_that_failed_nothing_is_promised_any_more(running: Running) -> None:
    results = await running.group(insert("ant"), insert_what_only_the_commit_refuses)
    assert [type(result) for result in results] == [apsw.ConstraintError] * 2
    with pytest.raises(apsw.ConstraintError):
        await running.writer.run(insert("bee"))
    assert len(running.broken) == 1
    assert names_in_file(running.connection) == set()


@pytest.mark.parametrize("error", [apsw.IOError, apsw.CorruptError])
async def test_a_disk_that_fails_inside_a_call_ends_the_writer(
    running: Running, error: type[apsw.Error]
) -> None:
    def fail(_: apsw.Connection) -> int:
        raise error("the disk failed")

    results = await running.group(insert("ant"), fail, insert("cat"))
    assert [type(result) for result in results] == [error] * 3
    assert [type(each) for each in running.broken] == [error]
    assert names_in_file(running.connection) == set()


async def test_closing_finishes_what_waits(tmp_path: Path) -> None:
    connection = apsw.Connection(str(tmp_path / "things.db"))
    connection.execute("CREATE TABLE things (name PRIMARY KEY, data)")
    writer = Writer(connection, print)
    calls = [asyncio.create_task(writer.run(insert(f"{number}"))) for number in range(MAX_GROUP)]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await writer.close()
        assert await asyncio.gather(*calls)
    with pytest.raises(apsw.ConnectionClosedError):
        connection.pragma("user_version")


async def test_a_call_that_comes_after_the_close_is_refused(tmp_path: Path) -> None:
    writer = Writer(apsw.Connection(str(tmp_path / "things.db")), print)
    await writer.close()
    async with asyncio.timeout(10):
        with pytest.raises(RuntimeError, match="closed"):
            await writer.run(insert("late"))


async def test_a_database_that_another_program_holds_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    connection = apsw.Connection(str(tmp_path / "things.db"))
    connection.pragma("journal_mode", "wal")
    connection.execute("CREATE TABLE things (name, data)")
    connection.set_busy_timeout(10)
    holder = apsw.Connection(str(tmp_path / "things.db"))
    holder.execute("BEGIN IMMEDIATE")
    writer = Writer(connection, print)
    adding = asyncio.create_task(writer.run(insert("late")))
    async with asyncio.timeout(10):
        while not caplog.messages:
            await asyncio.sleep(0.001)
    holder.execute("ROLLBACK")
    async with asyncio.timeout(10):
        await adding
        await writer.close()
    assert set(caplog.messages) == {"another program holds the database; waiting for it"}
