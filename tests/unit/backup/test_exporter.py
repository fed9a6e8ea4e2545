"""The exporter: every change reaches the remote, once it can."""

import asyncio
import logging
from pathlib import Path

import pytest

from server.backup import exporter as room
from server.backup.layout import CHANGES, SNAPSHOTS
from server.remote import RemoteError
from server.remote.folder import FolderRemote
from tests.unit.backup.worlds import KilledError, Server, Troubled, fail, keys, kill, record, same


async def test_a_group_of_changes_is_the_whole_backup(
    server: Server, tmp_path: Path, backup: Path
) -> None:
    one, *_ = await record(server, 5)
    await server.store.delete(one.request_id)
    await server.exporter.flush()
    assert len(await keys(server, CHANGES)) == 1
    assert await same(server, tmp_path, backup)
    await server.store.delete_all()
    await record(server)
    await server.exporter.flush()
    assert len(await keys(server, CHANGES)) == 2
    assert await same(server, tmp_path, backup)


async def test_changes_go_in_groups(
    server: Server, tmp_path: Path, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "GROUP_CHANGES", 4)
    monkeypatch.setattr(room, "GROUP_BYTES", 20_000)
    await record(server, 10)
    await record(server, 3, size=15_000)
    await server.exporter.flush()
    assert len(await keys(server, CHANGES)) == 3 + 2
    assert await server.store.journal.waiting() == 0
    assert await same(server, tmp_path, backup)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_what_fails_is_exported_again_as_it_was(
    server: Server, tmp_path: Path, backup: Path, when: str
) -> None:
    first = await record(server, 2)
    server.remote.expect(0, **{when: fail})
    with pytest.raises(RemoteError):
        await server.exporter.flush()
    await server.store.delete(first[0].request_id)
    await record(server)
    await server.exporter.flush()
    assert len(await keys(server, CHANGES)) == 2
    assert await server.store.journal.waiting() == 0
    assert await same(server, tmp_path, backup)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_what_a_killed_server_did_not_note_is_exported_by_the_next(
    server: Server, tmp_path: Path, backup: Path, when: str
) -> None:
    await record(server, 2)
    server.remote.expect(0, **{when: kill})
    with pytest.raises(KilledError):
        await server.exporter.flush()
    server.restart()
    await server.exporter.flush()
    assert await same(server, tmp_path, backup)
    await server.export_all()
    assert await keys(server, CHANGES) == []
    assert await same(server, tmp_path, backup)


async def test_what_is_recorded_meanwhile_does_not_hold_up_who_waits(server: Server) -> None:
    async def record_more() -> None:
        await record(server)
        server.remote.expect(0, before=record_more)

    await record(server)
    server.remote.expect(0, before=record_more)
    async with asyncio.timeout(10):
        await server.exporter.flush()
    server.remote.calm()
    assert len(await keys(server, CHANGES)) == 1
    assert await server.store.journal.waiting() == 1


async def test_after_many_groups_a_snapshot_takes_their_place(
    server: Server, tmp_path: Path, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MAX_GROUPS", 3)
    for _ in range(4):
        await record(server)
        await server.exporter.flush()
    assert len(await keys(server, SNAPSHOTS)) == 1
    assert await keys(server, CHANGES) == []
    await record(server)
    await server.exporter.flush()
    assert len(await keys(server, CHANGES)) == 1
    assert await same(server, tmp_path, backup)


async def test_when_too_much_waits_all_is_exported(
    server: Server, tmp_path: Path, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MAX_WAITING", 5)
    await record(server, 6)
    await server.exporter.flush()
    assert len(await keys(server, SNAPSHOTS)) == 1
    assert await keys(server, CHANGES) == []
    assert await same(server, tmp_path, backup)


async def test_run_exports_what_changes_and_goes_on_after_trouble(
    server: Server,
    tmp_path: Path,
    backup: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "MAX_PAUSE", 0.01)
    caplog.set_level(logging.INFO)
    failures = 0

    async def fail_again() -> None:
        nonlocal failures
        failures += 1
        if failures < 5:
            server.remote.expect(0, before=fail_again)
        await fail()

    server.remote.expect(0, before=fail_again)
    await record(server, 3)
    task = asyncio.create_task(server.exporter.run())
    async with asyncio.timeout(10):
        while not failures:
            await asyncio.sleep(0.001)
        assert (await sentence(server)) == "the remote says no"
        while await server.store.journal.waiting():
            await asyncio.sleep(0.005)
        await record(server)
        while await server.store.journal.waiting():
            await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.wait([task])
    assert failures == 5
    assert (await sentence(server)) is None
    told = [each.levelname for each in caplog.records if "back" in each.message]
    assert told == ["WARNING", "INFO"]
    assert await same(server, tmp_path, backup)


async def sentence(server: Server) -> str | None:
    return server.exporter.trouble.sentence


async def test_groups_keep_their_distance(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a busy minute costs a few of them."""
    monkeypatch.setattr(server.exporter, "_interval", 0.1)
    task = asyncio.create_task(server.exporter.run())
    loop = asyncio.get_running_loop()
    began = loop.time()
    while loop.time() - began < 0.5:
        await record(server)
    task.cancel()
    await asyncio.wait([task])
    seconds = loop.time() - began
    assert 2 <= len(await keys(server, CHANGES)) <= seconds / 0.1 + 1


async def test_a_cancelled_export_is_taken_up_again(
    server: Server, tmp_path: Path, backup: Path
) -> None:
    await record(server, 2)
    task = asyncio.create_task(server.exporter.flush())

    async def cancel() -> None:
        task.cancel()

    server.remote.expect(0, after=cancel)
    await asyncio.wait([task])
    await record(server)
    await server.exporter.flush()
    assert await same(server, tmp_path, backup)
    assert not server.exporter.turn.locked()


async def test_a_remote_in_anothers_place_gets_what_that_one_had(
    server: Server, tmp_path: Path, backup: Path
) -> None:
    old = await record(server, 2)
    server.exporter._joined = False
    await server.exporter.flush()
    await server.close()

    moved = Server(server.folder, tmp_path / "another backup")
    moved.exporter._joined = False
    try:
        new = await record(moved)
        await moved.exporter.flush()
        assert await same(moved, tmp_path, tmp_path / "another backup")
    finally:
        await moved.close()

    server.open()
    server.remote = Troubled(FolderRemote(backup))
    server.restart()
    server.exporter._joined = False
    newest = await record(server)
    await server.exporter.flush()
    assert set(await server.results()) == {each.request_id for each in old + new + newest}
    assert await same(server, tmp_path, backup)


async def test_groups_of_earlier_runs_count_until_a_snapshot_covers_them(
    server: Server, tmp_path: Path, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MAX_GROUPS", 3)
    for _ in range(4):
        assert await keys(server, SNAPSHOTS) == []
        server.restart()
        server.exporter._joined = False
        await record(server)
        await server.exporter.flush()
    assert len(await keys(server, SNAPSHOTS)) == 1
    assert await keys(server, CHANGES) == []
    assert await same(server, tmp_path, backup)
