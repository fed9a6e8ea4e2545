"""The free space of the disk that results are kept on."""

import asyncio
import os
import time
from pathlib import Path
from typing import Final

from server.errors import StorageFullError

FRESH_SECONDS: Final = 0.1
"""How long enough space is taken for granted: no disk loses `--min-free-disk` in that time."""


class FreeSpace:
    """The gate before everything that writes: a database on a full disk can't even delete.

    Args:
        folder: Where the database is.
        minimum: Bytes that stay free.
    """

    def __init__(self, folder: Path, minimum: int) -> None:
        self._folder = folder
        self._minimum = minimum
        self._enough_until = 0.0

    async def require(self) -> None:
        """Refuse to begin what would have to be kept.

        Raises:
            StorageFullError: The disk has less than the minimum left.
        """
        if time.monotonic() < self._enough_until:
            return
        disk = await asyncio.to_thread(os.statvfs, self._folder)  # a failing disk can stall it
        if disk.f_bavail * disk.f_frsize < self._minimum:
            raise StorageFullError
        self._enough_until = time.monotonic() + FRESH_SECONDS
