from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.backup.worlds import Server


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    return tmp_path / "backup"


@pytest.fixture
async def server(tmp_path: Path, backup: Path) -> AsyncIterator[Server]:
    server = Server(tmp_path / "a", backup)
    yield server
    await server.close()


@pytest.fixture
async def other(tmp_path: Path, backup: Path) -> AsyncIterator[Server]:
    """Another server on the same remote."""
    server = Server(tmp_path / "b", backup)
    yield server
    await server.close()
