"""Snapshots on the remote: what they replace, and what is lost with them: nothing."""

import os
import shutil
import time
from pathlib import Path

import pytest

from server.backup import manifest
from server.backup.layout import CHANGES, MANIFEST, SNAPSHOTS
from server.backup.snapshots import ABANDONED_SECONDS
from server.errors import BackupUnusableError
from server.remote import RemoteError
from tests.unit.backup.worlds import KilledError, Server, fail, imported, keys, kill, record, same

STEPS = range(7)  # write_stream, read, write, list and delete changes, list and delete snapshots


async def listed(server: Server) -> list[str]:
    found = (await manifest.read(server.remote)).manifest
    return [each.key for each in found.snapshots]


async def test_it_takes_the_place_of_what_was_there(
    server: Server, tmp_path: Path, backup: Path
) -> None:
    told = []
    results = await record(server, 5)
    await server.store.delete(results[0].request_id)
    await server.exporter.flush()
    for _ in range(3):
        await record(server)
        made = await server.exporter.export_all(lambda *done: told.append(done))
    assert made == 7
    assert told[-1] == (7, 7)
    assert await keys(server, CHANGES) == []
    assert await keys(server, SNAPSHOTS) == await listed(server)
    assert len(await listed(server)) == 1
    assert await server.store.journal.waiting() == 0
    assert await same(server, tmp_path, backup)


async def test_it_holds_what_it_says(server: Server) -> None:
    await record(server, 3, size=100_000)
    await server.export_all()
    ((each,), _) = (await manifest.read(server.remote)).manifest.snapshots, None
    assert (each.results, each.lines) == (3, 3)
    data = b"".join([piece async for piece in server.remote.stream(each.key)])
    assert each.bytes == len(data)


async def test_an_empty_store_makes_an_empty_one(
    server: Server, tmp_path: Path, backup: Path
) -> None:
    assert await server.export_all() == 0
    assert await same(server, tmp_path, backup)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("happens", [fail, kill])
async def test_whatever_happens_at_any_step_nothing_is_lost_and_the_next_one_tidies_up(  # noqa: PLR0913, PLR0917 - fixtures
    server: Server, tmp_path: Path, backup: Path, step: int, when: str, happens: object
) -> None:
    await record(server, 2)
    await server.export_all()
    await record(server, 2)
    await server.exporter.flush()
    gone, *_ = await record(server, 2)
    server.remote.expect(step, **{when: happens})  # type: ignore[arg-type]  # one of two events
    try:
        await server.export_all()
    except (RemoteError, KilledError):
        server.restart() if happens is kill else None
    server.remote.calm()
    await server.store.delete(gone.request_id)
    await server.exporter.flush()
    assert await same(server, tmp_path, backup)
    await server.export_all()
    assert await same(server, tmp_path, backup)
    assert len(await listed(server)) == 1
    assert await keys(server, CHANGES) == []


async def test_what_others_exported_stays_until_it_was_imported(
    server: Server, other: Server, tmp_path: Path, backup: Path
) -> None:
    await record(server, 2)
    await record(other, 2)
    await server.exporter.flush()
    await other.export_all()
    await server.export_all()
    assert len(await listed(server)) == 2
    everything = (await server.results()) | (await other.results())
    assert await imported(tmp_path / "new", backup) == everything
    await server.import_all()
    await record(other)
    await other.exporter.flush()
    await server.export_all()
    assert len(await listed(server)) == 1
    assert len(await keys(server, CHANGES)) == 1
    everything |= await other.results()
    assert await imported(tmp_path / "newer", backup) == everything


async def test_a_disk_put_back_to_a_copy_claims_nothing_that_it_lacks(
    server: Server, tmp_path: Path, backup: Path
) -> None:
    await record(server)
    await server.exporter.flush()
    await server.store.close()
    shutil.copytree(server.folder, tmp_path / "copy")
    writer, number = server.exporter._writer, server.exporter._number
    server.open()
    server.exporter._writer = server.exporter._snapshots._writer = writer  # the copy is unseen
    server.exporter._number = number
    await record(server, 2)
    await server.exporter.flush()
    await server.store.close()
    shutil.rmtree(server.folder)
    shutil.copytree(tmp_path / "copy", server.folder)
    server.open()
    await record(server)
    await server.export_all()
    assert len(await imported(tmp_path / "new", backup)) == 4


async def test_a_group_on_its_way_while_a_snapshot_is_made_does_no_harm(
    server: Server, tmp_path: Path, backup: Path
) -> None:
    dead, *_ = await record(server, 3)
    server.remote.expect(0, before=fail)
    with pytest.raises(RemoteError):
        await server.exporter.flush()
    await server.store.delete(dead.request_id)
    await server.export_all()
    await server.exporter.flush()  # the group arrives after all
    assert await same(server, tmp_path, backup)
    await record(server)
    await server.exporter.flush()
    assert await same(server, tmp_path, backup)


async def test_what_nobody_listed_is_removed_after_a_day_and_by_its_maker_at_once(
    server: Server, other: Server, backup: Path
) -> None:
    for each in (server, other):
        await record(each)
        each.remote.expect(2, before=fail)
        with pytest.raises(RemoteError):
            await each.export_all()
    (theirs,) = [key for key in await keys(server, SNAPSHOTS) if other.exporter._writer in key]
    await server.export_all()
    assert set(await keys(server, SNAPSHOTS)) == {theirs, *await listed(server)}
    day_ago = time.time() - ABANDONED_SECONDS - 10
    os.utime(backup / theirs, (day_ago, day_ago))
    (mine,) = await listed(server)
    os.utime(backup / mine, (day_ago, day_ago))
    server.remote.expect(2, after=kill)
    with pytest.raises(KilledError):
        await server.export_all()
    (listed_now,) = await listed(server)
    os.utime(backup / listed_now, (day_ago, day_ago))
    await other.export_all()
    assert set(await listed(other)) <= set(await keys(other, SNAPSHOTS))
    assert theirs not in await keys(other, SNAPSHOTS)


async def test_a_backup_of_a_newer_server_is_not_replaced(server: Server) -> None:
    await server.remote.write(MANIFEST, b'{"format":2,"magic":[]}', replaces=None)
    await record(server)
    with pytest.raises(BackupUnusableError, match="format 2"):
        await server.export_all()
    assert (await server.remote.read(MANIFEST)).data == b'{"format":2,"magic":[]}'
    assert await server.store.journal.waiting() == 1
