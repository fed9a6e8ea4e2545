"""The lock on a data directory: one server at a time."""

import fcntl
import os
from pathlib import Path


class DataDirInUseError(Exception):
    """Another server holds the data directory."""


class DataDirLock:
    """An advisory lock that the kernel releases when the process ends, however it ends.

    Args:
        data_dir: The directory, which exists.

    Raises:
        DataDirInUseError: Another process holds the lock.

    Attributes:
        left_by_a_crash: The holder before this one ended without releasing it.
    """

    def __init__(self, data_dir: Path) -> None:
        self._file = os.open(data_dir / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = self._holder() or "unknown"
            os.close(self._file)
            raise DataDirInUseError(
                f"{data_dir} is in use by another server (process {holder}):"
                " stop it, or choose another --data-dir"
            ) from None
        self.left_by_a_crash = bool(self._holder())
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self, *, well: bool = True) -> None:
        """Let the next server have the directory, and know whether this one ended well."""
        if well:
            os.ftruncate(self._file, 0)
        os.close(self._file)

    def _holder(self) -> str:
        return os.pread(self._file, 20, 0).decode().strip()
