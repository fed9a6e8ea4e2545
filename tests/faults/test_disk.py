"""Disks that are full, turn read-only or fail: nothing lies, and what was answered is kept."""

import asyncio
import io
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import apsw
import pytest

from tests import models
from tests.integration import conftest
from tests.integration.conftest import Start
from tests.integration.requests import finished, form, picture, submit
from tests.server_process import ServerProcess

start = conftest.start  # the fixture

OBEDIENT = ("--model", "tests/models.py:Obedient", "--workers", "1")
FINE, WAIT = picture(models.FINE), picture(models.WAIT)
LARGE = picture(models.FINE) + bytes(300_000)  # decoders stop at the end of the picture
HUGE = picture(models.FINE) + bytes(5_000_000)  # more than SQLite keeps in memory until the commit
MIB = 2**20
PAGE = 4096


class Mounted:
    """A small disk of its own, at a server's data directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    @property
    def free(self) -> int:
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def fill(self, leaving: int = 0) -> None:
        """Take the room, but for so many bytes."""
        with self._ballast.open("ab") as file:
            file.write(bytes(self.free - leaving))
        assert self.free == leaving

    def make_room(self) -> None:
        self._ballast.unlink()

    def files(self) -> dict[str, tuple[int, int]]:
        """Size and time of change of every file."""
        found = {path: path.stat() for path in self.folder.rglob("*")}
        return {str(path): (stat.st_size, stat.st_mtime_ns) for path, stat in found.items()}


def needed(program: str) -> str:
    """The path of a program; skips the test where there is none."""
    found = shutil.which(program)
    if not found:
        pytest.skip(f"there is no {program} here")
    return found


def mount(*arguments: str | Path) -> None:
    command = [needed("mount"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")


def unmount(folder: Path) -> None:
    subprocess.run([needed("umount"), "--lazy", folder], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Mounted]:
    """Eight megabytes in memory."""
    folder = tmp_path / "data"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=8m", "tmpfs", folder)
    yield Mounted(folder)
    unmount(folder)


@pytest.fixture
def ext4(tmp_path: Path) -> Iterator[Path]:
    """A disk in a file, with a file system that turns read-only at its first error."""
    folder = tmp_path / "data"
    folder.mkdir()
    with (tmp_path / "disk").open("wb") as file:
        file.truncate(32 * MIB)
    subprocess.run([needed("mkfs.ext4"), "-q", tmp_path / "disk"], check=True)
    mount("-o", "loop,errors=remount-ro", tmp_path / "disk", folder)
    yield folder
    unmount(folder)


async def status(http: aiohttp.ClientSession) -> dict[str, Any]:
    async with http.get("/status") as reply:
        assert reply.status == 200
        answer: dict[str, Any] = await reply.json()
        return answer


async def until_running(http: aiohttp.ClientSession, number: int) -> None:
    """Ask for the status until so many images are with the workers."""
    async with asyncio.timeout(20):
        while (await status(http))["queue"]["running"] != number:
            await asyncio.sleep(0.01)


async def refused(http: aiohttp.ClientSession, path: str, data: bytes = FINE) -> None:
    headers = {"Content-Type": "image/png"}
    async with http.post(path, data=io.BytesIO(data), headers=headers) as reply:
        answer = await reply.json()
    assert (reply.status, answer["error"]) == (503, "storage_full"), answer
    assert int(reply.headers["Retry-After"]) > 0


async def predicted(http: aiohttp.ClientSession, data: bytes = FINE) -> str:
    async with http.post("/predict", data=form(data)) as reply:
        assert reply.status == 200
        return str((await reply.json())["request_id"])


async def listed(http: aiohttp.ClientSession) -> dict[str, str]:
    async with http.get("/predictResults") as reply:
        assert reply.status == 200
        return {result["request_id"]: result["status"] for result in await reply.json()}


def rows(folder: Path) -> dict[str, int]:
    """How many rows each table of a whole database has."""
    with closing(apsw.Connection(str(folder / "predictions.db"))) as plain:
        assert plain.execute("PRAGMA integrity_check").get == "ok"
        return {
            "predictions": plain.execute("SELECT count(*) FROM predictions").get,
            "images": plain.execute("SELECT count(*) FROM images").get,
        }


# Full disks


async def test_nothing_is_accepted_below_the_free_space_that_stays(
    disk: Mounted, start: Start
) -> None:
    server = start(*OBEDIENT, "--min-free-disk", "4MiB").ready()
    async with aiohttp.ClientSession(server.url) as http:
        before = await predicted(http)
        disk.fill(leaving=4 * MIB - PAGE)
        files = disk.files()
        for path in ("/predict", "/asyncPredict", "/predict?save_locally=true"):
            await refused(http, path)
        assert disk.files() == files
        assert await listed(http) == {before: "Success"}
        async with http.delete(f"/delete/{before}") as reply:
            assert reply.status == 200
        disk.make_room()
        assert (await finished(http, await submit(http, FINE)))["status"] == "Success"


async def test_a_full_disk_refuses_what_is_new_and_keeps_what_was_accepted(
    disk: Mounted, start: Start, tmp_path: Path
) -> None:
    server = start(*OBEDIENT, "--min-free-disk", "0", MODEL_FOLDER=str(tmp_path)).ready()
    async with aiohttp.ClientSession(server.url) as http:
        before = await predicted(http)
        waiting = [await submit(http, WAIT, save_locally="true") for _ in range(3)]
        await until_running(http, 1)
        disk.fill()
        await refused(http, "/asyncPredict", LARGE)
        await refused(http, "/asyncPredict", HUGE)
        (tmp_path / "go").touch()
        await refused(http, "/predict")
        await until_running(http, 0)  # the model answered all of them: nobody can keep it

        there = {before: "Success", **dict.fromkeys(waiting, "Pending")}
        assert await listed(http) == there
        assert (await status(http))["pending"]["count"] == 3
        async with http.get(f"/predictResults/{waiting[0]}") as reply:
            assert (await reply.json())["status"] == "Pending"

        disk.make_room()
        results = [await finished(http, request_id) for request_id in waiting]
        assert [result["status"] for result in results] == ["Success"] * 3
        await refused_no_more(http)
    assert server.stop() == 0
    assert "Traceback" not in server.log
    assert rows(disk.folder) == {"predictions": 5, "images": 0}
    assert {path.name for path in (disk.folder / "images").iterdir()} == set(waiting)


async def refused_no_more(http: aiohttp.ClientSession) -> None:
    assert (await finished(http, await submit(http, LARGE)))["status"] == "Success"


async def test_no_image_is_saved_whose_result_has_no_room(disk: Mounted, start: Start) -> None:
    server = start(*OBEDIENT, "--min-free-disk", "0").ready()
    async with aiohttp.ClientSession(server.url) as http:
        disk.fill(leaving=3 * PAGE)  # room for the image, none for a transaction
        await refused(http, "/predict?save_locally=true")
        assert await listed(http) == {}
    assert list(disk.folder.glob("images/*")) == []


async def test_an_image_whose_worker_dies_on_a_full_disk_is_run_once_there_is_room(
    disk: Mounted, start: Start, tmp_path: Path
) -> None:
    server = start(*OBEDIENT, "--min-free-disk", "0", MODEL_FOLDER=str(tmp_path)).ready()
    async with aiohttp.ClientSession(server.url) as http:
        request_id = await submit(http, WAIT)
        await until_running(http, 1)
        disk.fill()
        os.kill(server.children()[0], signal.SIGKILL)
        await until_running(http, 0)  # it waits to be counted as lost
        assert await listed(http) == {request_id: "Pending"}
        disk.make_room()
        await until_running(http, 1)
        (tmp_path / "go").touch()
        assert (await finished(http, request_id))["status"] == "Success"


async def test_a_server_on_a_full_disk_stops_when_it_is_told_to(
    disk: Mounted, start: Start, tmp_path: Path
) -> None:
    arguments = (*OBEDIENT, "--min-free-disk", "0", "--shutdown-grace", "0")
    server = start(*arguments, MODEL_FOLDER=str(tmp_path)).ready()
    async with aiohttp.ClientSession(server.url) as http:
        request_id = await submit(http, WAIT)
        await until_running(http, 1)
        os.kill(server.children()[0], signal.SIGKILL)
        await asyncio.to_thread(server.wait_for_line, "worker 0 is back")
        await until_running(http, 1)  # again, alone; to stop is not its fault and is noted
    disk.fill()
    assert server.stop() == 0, server.log
    assert "Traceback" not in server.log
    disk.make_room()
    (tmp_path / "go").touch()
    async with aiohttp.ClientSession(
        start(*arguments, MODEL_FOLDER=str(tmp_path)).ready().url
    ) as http:
        assert (await finished(http, request_id))["status"] == "Success"


# Disks that fail


async def ask_until_it_ends(server: ServerProcess) -> dict[str, str]:
    """Several clients ask until the server is gone; what it answered, and what it said of it."""
    answered: dict[str, str] = {}

    async def ask(http: aiohttp.ClientSession, path: str) -> None:
        while True:
            async with http.post(path, data=form(FINE)) as reply:
                answer = await reply.json()
            if reply.status != 200:
                assert (reply.status, answer["status"]) in {(500, "Fail"), (503, "Fail")}
                return
            answered[answer["request_id"]] = path

    async with aiohttp.ClientSession(server.url) as http:
        async with asyncio.timeout(20):
            clients = (ask(http, path) for path in ("/predict", "/asyncPredict") * 2)
            ends = await asyncio.gather(*clients, return_exceptions=True)
    assert all(end is None or isinstance(end, aiohttp.ClientError) for end in ends), ends
    return answered


async def check_end(server: ServerProcess, why: str) -> None:
    """The server ended by itself and said why in one line."""
    assert await asyncio.to_thread(server.wait) == 1, server.log
    assert [line for line in server.lines if re.search(f"ERROR .*stops.*{why}", line)], server.log


async def check_answered(start: Start, answered: dict[str, str]) -> None:
    """A server after it has all that this one answered, and finishes it."""
    async with aiohttp.ClientSession(start(*OBEDIENT).ready().url) as http:
        for request_id in answered:
            assert (await finished(http, request_id))["status"] == "Success"


async def test_a_disk_that_turns_read_only_stops_the_server_and_loses_nothing(
    ext4: Path, start: Start, tmp_path: Path
) -> None:
    server = start(*OBEDIENT, "--min-free-disk", "0").ready()
    switch = next(Path("/sys/fs/ext4").glob(f"{device_of(ext4)}/trigger_fs_error"), None)
    if not switch:
        pytest.skip("this kernel can not make a file system fail")
    async with aiohttp.ClientSession(server.url) as http:
        ids = [await predicted(http) for _ in range(3)] + [await submit(http, FINE)]
        switch.write_text("1")
        async with http.get("/predictResults") as reply:
            assert reply.status == 200
    answered = dict.fromkeys(ids, "") | await ask_until_it_ends(server)
    await check_end(server, "disk I/O error|readonly")
    unmount(ext4)
    mount("-o", "loop", tmp_path / "disk", ext4)
    await check_answered(start, answered)


def device_of(folder: Path) -> str:
    mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    return next(Path(device).name for device, where, *_ in mounts if where == str(folder))


@pytest.mark.parametrize(
    "inject",
    [
        "fdatasync:error=EIO:when=6",  # once: what a second try would answer is not to be trusted
        "fdatasync:error=EIO:when=6+",
        "pwrite64:error=EIO:when=90",
        "pwrite64:error=EIO:when=90+",
    ],
)
async def test_a_disk_that_fails_stops_the_server_and_loses_nothing(
    start: Start, tmp_path: Path, inject: str
) -> None:
    server = start(*OBEDIENT, "--runner", "thread").ready()
    fault = Fault(server, tmp_path / "calls", inject)
    try:
        answered = await ask_until_it_ends(server)
        await check_end(server, "disk I/O error")
    finally:
        fault.end()
    assert "(INJECTED)" in fault.calls
    assert len(answered) > 3
    await check_answered(start, answered)


class Fault:
    """Makes system calls of a running server fail."""

    def __init__(self, server: ServerProcess, calls: Path, inject: str) -> None:
        self._calls = calls
        filters = ["-e", f"trace={inject.partition(':')[0]}", "-e", f"inject={inject}"]
        self._strace = subprocess.Popen(
            [needed("strace"), "-f", "-o", str(calls), *filters, "-p", str(server.process.pid)],
            stderr=subprocess.PIPE,
            text=True,
        )
        while not _traced(server.process.pid):
            if self._strace.poll() is not None:
                pytest.skip(f"nothing can be traced here: {self._strace.communicate()[1]}")

    @property
    def calls(self) -> str:
        return self._calls.read_text()

    def end(self) -> None:
        self._strace.kill()
        self._strace.communicate()


def _traced(pid: int) -> bool:
    threads = Path(f"/proc/{pid}/task").iterdir()
    return all("TracerPid:\t0\n" not in (each / "status").read_text() for each in threads)
