"""The folder remote: what it leaves behind, and when its disk or its neighbours fail."""

import fcntl
import os
import time
from pathlib import Path

import pytest

from server.remote import RemoteError
from server.remote.connect import connect
from server.remote.folder import FolderRemote
from server.remote.s3_options import S3Options
from tests.faults.disks import Mounted
from tests.remotes import MIB, keys, pieces

SMALL = b"what was exported " * 100
LARGE = 9 * MIB


async def test_a_full_folder_keeps_what_it_has(disk: Mounted) -> None:
    remote = FolderRemote(disk.folder)
    await remote.write("kept/small", SMALL, replaces=None)
    disk.fill(leaving=MIB)
    for write in (
        remote.write("new/small", bytes(2 * MIB), replaces=None),
        remote.write_stream("new/large", pieces(LARGE)),
    ):
        with pytest.raises(RemoteError, match="is full: make room there"):
            await write
    assert [found.key async for found in remote.list("")] == ["ballast", "kept/small"]
    disk.make_room()
    await remote.write("new/small", bytes(2 * MIB), replaces=None)
    assert (await remote.read("kept/small")).data == SMALL
    await remote.close()


async def test_a_folder_that_is_none_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    remote = FolderRemote(tmp_path / "file")
    with pytest.raises(RemoteError, match="can't be used"):
        await remote.write("key", b"", replaces=None)
    with pytest.raises(RemoteError, match="can't be used"):
        await remote.write_stream("key", pieces(LARGE))
    await remote.close()


async def test_a_folder_that_another_server_locks_is_given_up(tmp_path: Path) -> None:
    remote = FolderRemote(tmp_path, seconds=0.3)
    await remote.write("key", b"first", replaces=None)
    tag = (await remote.read("key")).tag
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for operation in (remote.write("key", b"second", replaces=tag), remote.delete(["key"])):
            with pytest.raises(RemoteError, match="another server holds"):
                await operation
    await remote.write("key", b"second", replaces=tag)
    await remote.close()


async def test_a_folder_that_hangs_is_given_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "key")  # who opens it waits for who writes
    remote = FolderRemote(tmp_path, seconds=0.2)
    try:
        with pytest.raises(RemoteError, match="does not answer in time"):
            await remote.read("key")
    finally:
        os.close(os.open(tmp_path / "key", os.O_WRONLY))
    await remote.close()


async def test_a_folder_has_only_what_it_is_for(tmp_path: Path) -> None:
    root = tmp_path / "a" / "remote"
    remote = connect(f"file://{root}", S3Options())
    await remote.write("snapshot/1/0", b"x", replaces=None)
    await remote.write_stream("snapshot/1/1", pieces(10))
    await remote.write("MANIFEST.json", b"x", replaces=None)
    files = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    assert files == ["MANIFEST.json", "snapshot", "snapshot/1", "snapshot/1/0", "snapshot/1/1"]
    await remote.delete(["snapshot/1/0", "snapshot/1/1"])
    assert not (root / "snapshot").exists()
    await remote.close()


async def test_a_folder_is_rid_of_what_a_crash_left(tmp_path: Path) -> None:
    old, new = tmp_path / ".tmp-old", tmp_path / ".tmp-new"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 3700, time.time() - 3700))
    remote = connect(f"file://{tmp_path}", S3Options())
    assert await keys(remote) == []
    await remote.write("key", b"x", replaces=None)
    assert not old.exists()
    assert new.exists()
    await remote.close()
