"""Small disks of their own, and what is asked of servers that keep their results on them."""

import io
import os
import shutil
import subprocess
import time
from contextlib import closing
from pathlib import Path

import aiohttp
import apsw
import pytest

from server.store.space import FRESH_SECONDS
from tests import models
from tests.integration.requests import form, picture

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
        time.sleep(FRESH_SECONDS)  # so long a server may take the room of before for granted

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
