from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.store.sqlite import SQLiteStore
from tests.unit.store.stores import opened


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    async with opened(tmp_path) as store:
        yield store
