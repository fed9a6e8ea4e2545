"""What the tests of faults share with those of the whole server."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.checked import contract
from tests.faults.disks import (
    MIB,
    Mounted,
    mount,
    needed,
    unmount,
)
from tests.integration.conftest import Start, start
from tests.s3_server import bucket, s3

__all__ = ["Start", "bucket", "contract", "s3", "start"]


@pytest.fixture(autouse=True)
def remote_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disks that fail are those of the data; backups go to another."""
    monkeypatch.setenv("SERVER_REMOTE", (tmp_path / "remote").as_uri())


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
