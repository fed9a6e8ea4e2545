"""The backups: import and export as the service offers them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.backup import backups as room
from server.backup.backups import Backups
from server.backup.layout import MANIFEST
from server.errors import BackupBusyError, BackupUnusableError, NoBackupError, RemoteFailedError
from server.prediction import accepted
from server.store import Upload
from tests.unit.backup.worlds import Event, Server, fail, give_way, imported, keys, record, same


class Told:
    """Counts how often an import was told of."""

    def __init__(self) -> None:
        self.times = 0

    async def __call__(self) -> None:
        self.times += 1


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
async def backups(server: Server, told: Told) -> AsyncIterator[Backups]:
    backups = Backups(server.store, server.remote, 0, told, give_way)
    server.exporter = backups.exporter
    yield backups
    await backups.close()


async def test_one_result_is_backed_up_and_its_deletion_too(
    server: Server, backups: Backups, tmp_path: Path, backup: Path
) -> None:
    one, _ = await record(server, 2)
    assert await backups.export_data(one.request_id)
    assert await same(server, tmp_path, backup)
    assert await backups.export_data(one.request_id)  # once more
    await server.store.delete(one.request_id)
    assert await backups.export_data(one.request_id, to_delete=True)
    assert one.request_id not in await imported(tmp_path / "other", backup)


async def test_all_results_are_backed_up_and_their_deletion_too(
    server: Server, backups: Backups, told: Told, tmp_path: Path, backup: Path
) -> None:
    await record(server, 3)
    assert await backups.export_data()
    assert await same(server, tmp_path, backup)
    await server.store.delete_all()
    assert await backups.export_data(to_delete=True)
    assert await imported(tmp_path / "other", backup) == {}
    assert await backups.import_data()
    assert told.times == 1


async def test_what_fails_is_false_and_logged_once(
    server: Server, backups: Backups, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    one, *_ = await record(server)
    assert not await backups.import_data()
    assert len(caplog.records) == 1
    for request_id in (one.request_id, None):
        for to_delete in (False, True):
            caplog.clear()
            server.remote.expect(0, before=fail)
            assert not await backups.export_data(request_id, to_delete=to_delete)
            assert len(caplog.records) == 1
    assert told.times == 0


async def test_only_one_job_runs_at_a_time(server: Server, backups: Backups) -> None:
    await record(server, 3)
    begun, gate = asyncio.Event(), asyncio.Event()
    server.remote.expect(1, before=stop_at(begun, gate))
    job = backups.start_export()
    await begun.wait()
    assert (await backups.status())["running"] == "export"
    for start in (backups.start_export, backups.start_import):
        with pytest.raises(BackupBusyError, match=r"export is running \(3 of 3 done\)"):
            start()
    assert not await backups.import_data()
    gate.set()
    assert await job.result() == f"3 results are backed up to {server.remote.url}."
    assert (await backups.status())["running"] is None
    assert (await backups.start_import().result()).startswith("3 results are imported from")


async def test_who_leaves_does_not_end_a_job(server: Server, backups: Backups) -> None:
    await record(server)
    begun, gate = asyncio.Event(), asyncio.Event()
    server.remote.expect(0, before=stop_at(begun, gate))
    job = backups.start_export()
    client = asyncio.create_task(job.result())
    await begun.wait()
    client.cancel()
    await asyncio.wait([client])
    assert client.cancelled()
    await job.wait(0)
    assert not job.ended
    gate.set()
    assert await job.result() == f"1 result is backed up to {server.remote.url}."


async def test_a_remote_that_fails_ends_a_job_with_a_sentence(
    server: Server, backups: Backups
) -> None:
    await record(server)
    server.remote.expect(0, before=fail)
    with pytest.raises(RemoteFailedError, match="the remote says no"):
        await backups.start_export().result()
    with pytest.raises(NoBackupError):
        await backups.start_import().result()


async def test_closing_gives_up_what_runs(server: Server, backups: Backups, told: Told) -> None:
    await record(server, 2)
    await backups.export_data()
    before = await server.all()
    begun = asyncio.Event()
    server.remote.expect(2, before=stop_at(begun, asyncio.Event()))
    job = backups.start_import()
    await begun.wait()
    await backups.close()
    assert job.ended
    assert await server.all() == before
    assert told.times == 0


async def test_status_says_what_waits_and_what_stands_against_it(
    server: Server, backups: Backups
) -> None:
    await record(server, 2)
    server.remote.expect(0, before=fail)
    run = asyncio.create_task(backups.run())
    async with asyncio.timeout(10):
        while not (await backups.status())["trouble"]:
            await asyncio.sleep(0.001)
    assert await backups.status() == {
        "remote": server.remote.url,
        "waiting": 2,
        "trouble": "the remote says no",
        "running": None,
    }
    run.cancel()
    await asyncio.wait([run])
    assert await backups.export_data()
    assert await backups.status() | {"remote": ""} == {
        "remote": "",
        "waiting": 0,
        "trouble": None,
        "running": None,
    }


# At the start and at the end


async def test_an_empty_server_restores_itself(
    server: Server, other: Server, backups: Backups, told: Told
) -> None:
    await record(other, 3)
    await other.export_all()
    await backups.restore("never")
    assert await server.results() == {}
    await backups.restore("if-empty")
    assert await server.results() == await other.results()
    assert told.times == 1


@pytest.mark.parametrize("what", ["result", "pending", "deletion"])
async def test_a_server_that_has_something_restores_itself_only_if_it_always_does(
    server: Server, other: Server, backups: Backups, told: Told, what: str
) -> None:
    await record(other, 3)
    await other.export_all()
    if what == "pending":
        await server.store.add(accepted(), Upload(b"cat", "cat.jpg"))
    else:
        await record(server)
    if what == "deletion":
        await server.store.delete_all()
    await backups.restore("if-empty")
    assert told.times == 0
    await backups.restore("always")
    assert told.times == 1


async def test_where_nothing_is_backed_up_it_begins(backups: Backups, told: Told) -> None:
    await backups.restore("always")
    assert told.times == 0


async def test_it_waits_for_a_remote_that_fails_and_the_trouble_ends(
    server: Server, other: Server, backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    await record(other, 3)
    await other.export_all()
    monkeypatch.setattr(room, "RETRY_SECONDS", 0.001)
    seen: list[str | None] = []

    async def fail_twice() -> None:
        if len(seen) < 2:
            server.remote.expect(0, before=fail_twice)
        seen.append(backups.exporter.trouble.sentence)
        await fail()

    server.remote.expect(0, before=fail_twice)
    await backups.restore("if-empty")
    assert seen == [None, "the remote says no", "the remote says no"]
    assert await server.results() == await other.results()
    assert backups.exporter.trouble.sentence is None


async def test_a_backup_that_can_t_be_used_stops_the_start(
    server: Server, backups: Backups
) -> None:
    await server.remote.write(MANIFEST, b'{"format":9}', replaces=None)
    with pytest.raises(BackupUnusableError, match="format 9"):
        await backups.restore("if-empty")


async def test_what_waits_is_exported_before_the_end_unless_the_remote_fails(
    server: Server, backups: Backups, tmp_path: Path, backup: Path
) -> None:
    await record(server, 3)
    await backups.flush()
    assert await same(server, tmp_path, backup)
    await record(server)
    server.remote.expect(0, before=fail)
    await backups.flush()
    assert await server.store.journal.waiting() == 1
    backups.exporter.trouble.begin("the remote says no")
    await backups.flush()  # is not tried
    assert await server.store.journal.waiting() == 1
    assert len(await keys(server, "changes/")) == 1


def stop_at(begun: asyncio.Event, gate: asyncio.Event) -> Event:
    """Let a call of the remote wait."""

    async def stop() -> None:
        begun.set()
        async with asyncio.timeout(10):
            await gate.wait()

    return stop
