"""The gate before a full disk."""

from pathlib import Path

import pytest

from server.errors import StorageFullError
from server.store import space
from server.store.space import FreeSpace

EXBIBYTE = 2**60
NO_ROOM = Path("/proc")  # a file system that never has a byte free


async def test_a_disk_with_room_takes_what_comes(tmp_path: Path) -> None:
    await FreeSpace(tmp_path, 1).require()


async def test_a_disk_with_less_than_the_minimum_takes_nothing(tmp_path: Path) -> None:
    with pytest.raises(StorageFullError, match="keeps what it has, but accepts nothing") as raised:
        await FreeSpace(tmp_path, EXBIBYTE).require()
    assert raised.value.retry_after
    assert (raised.value.status, raised.value.code) == (503, "storage_full")


@pytest.mark.skipif(not NO_ROOM.is_dir(), reason="there is no /proc here")
async def test_exactly_the_minimum_is_enough() -> None:
    await FreeSpace(NO_ROOM, 0).require()
    with pytest.raises(StorageFullError):
        await FreeSpace(NO_ROOM, 1).require()


async def test_the_disk_is_not_looked_at_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    gate = FreeSpace(folder, 1)
    await gate.require()
    folder.rmdir()
    await gate.require()
    monkeypatch.setattr(space, "FRESH_SECONDS", 0)
    folder.mkdir()
    gate = FreeSpace(folder, 1)
    await gate.require()
    folder.rmdir()
    with pytest.raises(FileNotFoundError):
        await gate.require()
