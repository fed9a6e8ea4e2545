import asyncio
import os
import shutil
from pathlib import Path

import pytest

from server.prediction import Status
from server.store import database
from server.store.database import StoreUnusableError
from server.store.lock import DataDirInUseError, DataDirLock
from server.store.schema import MIGRATIONS
from server.store.sqlite import SQLiteStore
from tests.unit.store.stores import (
    UPLOAD,
    another_program,
    connections,
    made,
    opened,
    writing,
)


async def test_every_connection_keeps_what_was_answered_through_a_power_cut(
    store: SQLiteStore, tmp_path: Path
) -> None:
    await asyncio.gather(*(store.counts() for _ in range(50)))
    assert len(connections(tmp_path)) >= 2
    for connection in connections(tmp_path):
        assert connection.pragma("journal_mode") == "wal"
        assert connection.pragma("synchronous") == 2  # FULL: a commit is on disk


async def test_only_the_writer_can_write(store: SQLiteStore, tmp_path: Path) -> None:
    await asyncio.gather(*(store.counts() for _ in range(50)))
    assert [each.readonly("main") for each in connections(tmp_path)].count(False) == 1


async def test_a_second_store_is_refused_and_told_who_holds_the_folder(
    store: SQLiteStore, tmp_path: Path
) -> None:
    with pytest.raises(DataDirInUseError, match=f"process {os.getpid()}\\).*--data-dir"):
        SQLiteStore(tmp_path, print)
    await store.add(made())


def refusal(folder: Path) -> str:
    """Why a store can't be opened; that the folder is free afterwards is checked, too."""
    path = folder / "predictions.db"
    with pytest.raises(StoreUnusableError) as refused:
        SQLiteStore(folder, print)
    DataDirLock(folder).release()
    assert str(path) in str(refused.value)
    assert "--data-dir" in str(refused.value)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("size", [1, 100, 5000])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, size: int) -> None:
    (tmp_path / "predictions.db").write_bytes(b"not a database " * size)
    assert "not this server's database" in refusal(tmp_path)


@pytest.mark.parametrize(
    "script", ["CREATE TABLE theirs (x)", "PRAGMA user_version = 1", "PRAGMA application_id = 7"]
)
def test_another_programs_database_is_refused_and_left_as_it_was(
    tmp_path: Path, script: str
) -> None:
    with another_program(tmp_path) as connection:
        connection.execute(script)
    before = (tmp_path / "predictions.db").read_bytes()
    assert "not this server's database" in refusal(tmp_path)
    assert (tmp_path / "predictions.db").read_bytes() == before


async def test_a_newer_servers_database_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path):
        pass
    with another_program(tmp_path) as connection:
        connection.pragma("user_version", len(MIGRATIONS) + 1)
    assert "written by a newer server" in refusal(tmp_path)


def test_a_folder_in_the_files_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "predictions.db").mkdir()
    assert "can't be opened" in refusal(tmp_path)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small database with something of everything."""
    folder = tmp_path_factory.mktemp("sound")

    async def fill() -> None:
        async with opened(folder) as store:
            for number in range(60):
                await store.add(made(list(Status)[number % 3]), UPLOAD if number % 9 == 0 else None)

    asyncio.run(fill())
    return folder / "predictions.db"


def test_a_page_of_garbage_anywhere_is_found_at_the_start(sound: Path, tmp_path: Path) -> None:
    pages = sound.stat().st_size // 4096
    assert pages > 10
    for page in range(pages):
        shutil.copy(sound, tmp_path / "predictions.db")
        with (tmp_path / "predictions.db").open("r+b") as file:
            file.seek(page * 4096)
            file.write(b"\xa5" * 4096)
        assert "is corrupt" in refusal(tmp_path), page


def test_a_file_cut_short_is_found_at_the_start(sound: Path, tmp_path: Path) -> None:
    (tmp_path / "predictions.db").write_bytes(sound.read_bytes()[: sound.stat().st_size // 2])
    assert "is corrupt" in refusal(tmp_path)


async def test_a_check_that_takes_too_long_is_given_up_and_the_store_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path):
        pass
    with another_program(tmp_path) as connection, connection:
        rows = (("Fail", number, b"{}", f"{number}") for number in range(3000))
        insert = "INSERT INTO predictions (status, created_at, response, request_id)"
        connection.executemany(f"{insert} VALUES (?, ?, ?, ?)", rows)
    monkeypatch.setattr(database, "CHECK_SECONDS", -1)
    async with opened(tmp_path) as store:
        assert (await store.counts())[Status.FAIL] == 3000
        assert writing(tmp_path).execute("SELECT max(completed_at) FROM predictions").get is None
