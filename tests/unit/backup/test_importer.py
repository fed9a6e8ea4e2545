"""The importer: all of a backup, or nothing."""

import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from server.backup.layout import CHANGES, MANIFEST, SNAPSHOTS, Group
from server.backup.segment import pack
from server.errors import BackupUnusableError, NoBackupError
from server.prediction import accepted
from server.remote import RemoteError
from server.store import Upload
from tests.unit.backup.worlds import KilledError, Server, fail, imported, keys, kill, record

STEPS = range(8)  # read, list, read, stream, and groups
OTHERS = "20260101T000000Z-00000000"


async def backed_up(server: Server) -> None:
    """A snapshot, and three groups since."""
    await record(server, 3)
    await server.export_all()
    for _ in range(3):
        await record(server, 2)
        await server.exporter.flush()


async def refused(server: Server, why: str | None = None) -> None:
    """See that an import is, and changes nothing."""
    await record(server)
    before = await server.results()
    with pytest.raises(BackupUnusableError, match=why):
        await server.import_all()
    assert await server.results() == before


async def test_where_there_is_no_backup_nothing_changes(server: Server) -> None:
    await record(server)
    before = await server.results()
    with pytest.raises(NoBackupError, match="export first"):
        await server.import_all()
    assert await server.results() == before


async def test_another_server_gets_it_all(server: Server, other: Server) -> None:
    await backed_up(server)
    told = []
    async with other.exporter.turn:
        assert await other.importer.run(lambda *done: told.append(done)) == 9
    assert await other.results() == await server.results()
    assert told[-1] == (6, 6)  # three lines, three groups
    assert await other.import_all() == 9


async def test_a_result_that_is_told_twice_counts_once(server: Server, other: Server) -> None:
    one, *_ = await record(server, 2)
    await server.exporter.flush()
    await server.store.journal.touch(one.request_id)
    await server.exporter.flush()
    assert await other.import_all() == 2


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("happens", [fail, kill])
async def test_what_ends_half_way_changes_nothing(
    server: Server, other: Server, step: int, when: str, happens: object
) -> None:
    await backed_up(server)
    await record(other, 2)
    await other.store.add(accepted(), Upload(b"cat", "cat.jpg"))
    before = await other.all()
    other.remote.expect(step, **{when: happens})  # type: ignore[arg-type]  # one of two events
    try:
        await other.import_all()
    except (RemoteError, KilledError):
        assert await other.all() == before
    else:
        assert step >= 4 + 3
    other.remote.calm()
    await other.import_all()
    assert await other.all() == before | await server.results()


@pytest.mark.parametrize("step", STEPS)
async def test_another_s_new_snapshot_meanwhile_is_noticed(
    server: Server, other: Server, step: int
) -> None:
    await backed_up(server)

    async def tidy_up() -> None:
        await record(server)
        await server.export_all()

    other.remote.expect(step, before=tidy_up)
    await other.import_all()
    there, here = await server.results(), await other.results()
    assert here.items() <= there.items()
    assert len(here) in {9, 10}  # as it was before that, or after


async def test_a_backup_that_changes_all_the_time_is_given_up(
    server: Server, other: Server
) -> None:
    await backed_up(server)

    async def change() -> None:
        other.remote.expect(2, after=change)
        await server.export_all()

    other.remote.expect(0, after=change)
    await refused(other, "changed by other servers all the time")


@pytest.mark.parametrize("number", [1, 2])
async def test_a_missing_group_is_noticed(server: Server, other: Server, number: int) -> None:
    for _ in range(3):
        await record(server)
        await server.exporter.flush()
    key = Group(server.exporter._writer, number).key
    await server.remote.delete([key])
    await refused(other, f"lacks {key}")


async def test_a_missing_snapshot_is_noticed(server: Server, other: Server) -> None:
    await backed_up(server)
    (key,) = await keys(server, SNAPSHOTS)
    await server.remote.delete([key])
    await refused(other, f"lacks {key}")


async def test_a_snapshot_put_in_the_place_of_another_is_noticed(
    server: Server, other: Server, backup: Path
) -> None:
    await backed_up(server)
    (key,) = await keys(server, SNAPSHOTS)
    (backup / key).write_bytes(pack({"writer": "w"}, []))
    await refused(other, "is not what the manifest says")


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flip(data: bytes) -> bytes:
    place = len(data) // 2
    return data[:place] + bytes([data[place] ^ 128]) + data[place + 1 :]


def html(_: bytes) -> bytes:
    return b"<html>Sign in</html>"


def empty(_: bytes) -> bytes:
    return b""


def newer(_: bytes) -> bytes:
    return pack({"format": 2}, [])


@pytest.mark.parametrize("damage", [cut, flip, html, empty, newer])
@pytest.mark.parametrize("prefix", [MANIFEST, SNAPSHOTS, CHANGES])
async def test_a_damaged_backup_is_refused(
    server: Server,
    other: Server,
    backup: Path,
    prefix: str,
    damage: Callable[[bytes], bytes],
) -> None:
    await backed_up(server)
    path = backup / (await keys(server, prefix))[-1]
    path.write_bytes(damage(path.read_bytes()))
    await refused(other)


async def test_a_line_of_something_else_is_refused(server: Server, other: Server) -> None:
    data = pack({"writer": OTHERS, "number": 1}, [b'{"hello":"world"}'])
    await server.remote.write(Group(OTHERS, 1).key, data, replaces=None)
    await refused(other, "holds a line that is no result")


async def test_a_refused_backup_deletes_nothing_later_either(
    server: Server, tmp_path: Path, backup: Path
) -> None:
    """A deletion in a backup that is refused is no deletion."""
    kept, *_ = await record(server, 2)
    await server.export_all()
    doubtful = b'{"deleted":"%b","at":"%b"}' % (
        kept.request_id.encode(),
        datetime.now(UTC).isoformat().encode(),
    )
    for number, lines in enumerate(([doubtful], [b"{}"]), start=1):
        data = pack({"writer": OTHERS, "number": number}, lines)
        await server.remote.write(Group(OTHERS, number).key, data, replaces=None)
    await refused(server, "holds a line")
    await server.remote.delete([Group(OTHERS, number).key for number in (1, 2)])
    await server.export_all()
    assert kept.request_id in await imported(tmp_path / "new", backup)


async def test_foreign_files_are_left_alone(server: Server, other: Server) -> None:
    await backed_up(server)
    for key in ("changes/notes.txt", "snapshot/photo.jpg", "readme"):
        await server.remote.write(key, b"hello", replaces=None)
    await other.import_all()
    await other.export_all()
    assert {"changes/notes.txt", "snapshot/photo.jpg", "readme"} <= set(await keys(server, ""))


async def test_large_results_are_imported_in_bounded_memory(server: Server, other: Server) -> None:
    """Results of a mebibyte, which compress to next to nothing: 16 of them, and 40."""
    await record(server, 16, size=2**20)
    await server.export_all()
    tracemalloc.start()
    try:
        await other.import_all()
        first = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        await record(server, 24, size=2**20)
        await server.export_all()
        tracemalloc.start()
        await other.import_all()
        second = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(await other.results()) == 40
    assert second < 1.25 * first
