"""The free space of the disk that results are kept on."""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from server.errors import StorageFullError


@dataclass(frozen=True, slots=True)
class FreeSpace:
    """The gate before everything that writes: a database on a full disk can't even delete.

    Attributes:
        folder: Where the database is.
        minimum: Bytes that stay free.
    """

    folder: Path
    minimum: int

    async def require(self) -> None:
        """Refuse to begin what would have to be kept.

        Raises:
            StorageFullError: The disk has less than the minimum left.
        """
        disk = await asyncio.to_thread(os.statvfs, self.folder)  # a failing disk can stall it
        if disk.f_bavail * disk.f_frsize < self.minimum:
            raise StorageFullError
