"""Disks that turn read-only or fail: the server stops, nothing lies, what was answered is kept."""

import asyncio
import re
import subprocess
from pathlib import Path

import aiohttp
import pytest

from tests.faults.disks import (
    FINE,
    OBEDIENT,
    mount,
    needed,
    predicted,
    unmount,
)
from tests.integration.conftest import Start
from tests.integration.requests import finished, form, submit
from tests.server_process import ServerProcess


async def ask_until_it_ends(server: ServerProcess) -> dict[str, str]:
    """Several clients ask until the server is gone; what it answered, and what it said of it."""
    answered: dict[str, str] = {}

    async def ask(http: aiohttp.ClientSession, path: str) -> None:
        while True:
            async with http.post(path, data=form(FINE)) as reply:
                answer = await reply.json()
            if reply.status != 200:
                # 408: the server reads no body to its end once it has to stop
                assert reply.status in {408, 500, 503}
                assert answer["status"] == "Fail"
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
        await finished(http, ids[-1])  # from now on nothing is written by itself
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
