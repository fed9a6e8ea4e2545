import os
from pathlib import Path

import pytest

from server.errors import StorageFullError
from server.store.space import FreeSpace


def test_with_enough_free_space_work_is_accepted(tmp_path: Path) -> None:
    FreeSpace(tmp_path, 0).require()
    FreeSpace(tmp_path, 4096).require()


def test_below_the_minimum_work_is_refused_with_the_time_to_come_back(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    with pytest.raises(StorageFullError, match="accepts nothing new") as refused:
        FreeSpace(tmp_path, disk.f_blocks * disk.f_frsize + 1).require()
    assert refused.value.retry_after == 30
