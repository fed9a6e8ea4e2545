"""The manifest: what counts, changed by compare-and-swap."""

import asyncio
from pathlib import Path

import orjson
import pytest

from server.backup import manifest
from server.backup.layout import (
    MANIFEST,
    Group,
    group,
    is_snapshot_of,
    new_writer,
    snapshot_key,
)
from server.backup.manifest import Listed, Manifest
from server.errors import BackupUnusableError
from server.remote import RemoteError
from server.remote.folder import FolderRemote
from tests.unit.backup.worlds import Troubled, fail

WRITER = "20260131T120000Z-0123abcd"


@pytest.fixture
def remote(backup: Path) -> FolderRemote:
    return FolderRemote(backup)


def listed(key: str, **covers: int) -> Listed:
    return Listed(key=key, created_at="", results=1, lines=1, bytes=1, sha256="00", covers=covers)


async def test_without_a_manifest_nothing_counts(remote: FolderRemote) -> None:
    assert await manifest.read(remote) == (Manifest(), None)


async def test_what_is_added_counts_and_what_it_replaces_does_not(remote: FolderRemote) -> None:
    await manifest.add(remote, listed("a", x=1), [])
    await manifest.add(remote, listed("b"), [])
    await manifest.add(remote, listed("c", x=3, y=2), ["a", "writer", "unknown"])
    found = (await manifest.read(remote)).manifest
    assert [each.key for each in found.snapshots] == ["b", "c"]
    assert found.covered() == {"x": 3, "y": 2}
    assert found.covers(Group("x", 3))
    assert not found.covers(Group("x", 4))
    assert not found.covers(Group("z", 1))


async def test_several_servers_lose_nothing_of_each_other(backup: Path) -> None:
    remotes = [FolderRemote(backup) for _ in range(4)]
    await asyncio.gather(
        *(
            manifest.add(remote, listed(f"{at}-{number}"), [f"{at}-{number - 1}"])
            for at, remote in enumerate(remotes)
            for number in range(1)
        )
    )
    found = (await manifest.read(remotes[0])).manifest
    assert {each.key for each in found.snapshots} == {"0-0", "1-0", "2-0", "3-0"}


async def test_adding_again_after_a_lost_answer_adds_once(backup: Path) -> None:
    remote = Troubled(FolderRemote(backup))
    remote.expect(1, after=fail)
    with pytest.raises(RemoteError):
        await manifest.add(remote, listed("a"), [])
    await manifest.add(remote, listed("a"), [])
    assert [each.key for each in (await manifest.read(remote)).manifest.snapshots] == ["a"]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not one of this server's backups"),
        (b"<html>", "not one of this server's backups"),
        (b"[]", "not one of this server's backups"),
        (b"{}", "not one of this server's backups"),
        (b'{"format":2}', "format 2; this server reads format 1: use a newer one"),
        (b'{"format":"1"}', "format '1'"),
        (b'{"format":1,"snapshots":5}', "is corrupt: snapshots"),
        (b'{"format":1,"snapshots":[{"key":"a"}]}', r"is corrupt: snapshots\.0\.created_at"),
    ],
)
async def test_what_is_no_manifest_is_refused_and_not_replaced(
    remote: FolderRemote, data: bytes, why: str
) -> None:
    await remote.write(MANIFEST, data, replaces=None)
    with pytest.raises(BackupUnusableError, match=why):
        await manifest.read(remote)
    with pytest.raises(BackupUnusableError, match=why):
        await manifest.add(remote, listed("a"), [])
    assert (await remote.read(MANIFEST)).data == data


async def test_numbers_below_zero_are_corrupt(remote: FolderRemote) -> None:
    record = Manifest(snapshots=(listed("a"),)).model_dump()
    record["snapshots"][0]["covers"] = {"w": -1}
    await remote.write(MANIFEST, orjson.dumps(record), replaces=None)
    with pytest.raises(BackupUnusableError, match=r"covers\.w"):
        await manifest.read(remote)


def test_keys_name_their_groups_and_snapshots() -> None:
    for number in (1, 99_999_999, 100_000_000):
        assert group(Group(WRITER, number).key) == Group(WRITER, number)
    assert group("changes/other/1.ndjson.zst") is None
    assert group(f"changes/{WRITER}/00000001.ndjson.zst.tmp") is None
    assert is_snapshot_of(snapshot_key(WRITER, 1), WRITER)
    assert not is_snapshot_of(snapshot_key(WRITER, 1), f"{WRITER[:-1]}e")


def test_no_two_writers_have_one_name() -> None:
    names = {new_writer() for _ in range(1000)}
    assert len(names) == 1000
    assert all(group(Group(name, 1).key) == Group(name, 1) for name in names)
