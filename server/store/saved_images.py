"""The images that clients asked to keep: `{folder}/{request_id}/{name}`."""

import asyncio
import contextlib
import errno
import os
import re
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Final

import aiofiles.os

from server.errors import StorageFullError

MAX_NAME: Final = 100
IN_DOUBT: Final = ".in-doubt"
_DELETED: Final = (FileNotFoundError, FileExistsError)
"""What making a folder meets while it is deleted: it was there, or it was not."""

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")


class SavedImages:
    """Keeps uploads as files, each in a folder of its request.

    Args:
        folder: Made when the first image is saved.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def save(self, request_id: str, name: str, data: bytes) -> None:
        """Write an image under a safe form of the client's file name.

        Once this returns, a power cut does not take it; a deletion that came meanwhile has.

        Raises:
            StorageFullError: No room on the disk; nothing is left there.
            OSError: The folder can't be written.
        """
        try:
            await asyncio.to_thread(self._write, self._folder / request_id / safe_name(name), data)
        except _DELETED:  # its folder was just made, and is gone again
            return
        except OSError as error:
            await self.delete(request_id)
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise StorageFullError from error
            raise

    async def doubt(self, request_id: str) -> None:
        """Note that what is saved for a request is nobody's, unless its result is recorded."""
        note = self._folder / f"{request_id}{IN_DOUBT}"
        try:
            await aiofiles.os.makedirs(note, exist_ok=True)
        except _DELETED:  # the folder above was there, and is gone again
            await aiofiles.os.makedirs(note, exist_ok=True)

    async def trust(self, request_id: str) -> None:
        """Take that note back."""
        with contextlib.suppress(FileNotFoundError):
            await aiofiles.os.rmdir(self._folder / f"{request_id}{IN_DOUBT}")

    async def doubtful(self) -> list[str]:
        """The requests in doubt: the server ended while it recorded them."""
        found = await asyncio.to_thread(lambda: list(self._folder.glob(f"*{IN_DOUBT}")))
        return [path.name.removesuffix(IN_DOUBT) for path in found]

    async def retain(self, is_known: Callable[[str], Awaitable[bool]]) -> None:
        """Delete what was saved for requests that have no result any more."""
        found = await asyncio.to_thread(lambda: {path.name for path in self._folder.glob("*")})
        doubtful = await self.doubtful()  # as of now: these may be about to be recorded
        for name in found - {name for each in doubtful for name in (each, f"{each}{IN_DOUBT}")}:
            if not name.endswith(IN_DOUBT) and not await is_known(name):
                await self.delete(name)

    async def delete(self, request_id: str) -> None:
        """Delete what was saved for a request, if anything was."""
        await asyncio.to_thread(shutil.rmtree, self._folder / request_id, ignore_errors=True)
        await self.trust(request_id)

    async def delete_all(self) -> None:
        """Delete every saved image."""
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        for folder in (path.parent, self._folder, self._folder.parent):  # the names, too
            _sync_names(folder)


def _sync_names(folder: Path) -> None:
    """Have what a folder names on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def safe_name(name: str) -> str:
    """A file name without folders, hidden-file dots or characters that need quoting.

    The extension survives the cut to `MAX_NAME` characters.
    """
    base = PureWindowsPath(PurePosixPath(name).name).name
    path = PurePosixPath(_UNSAFE.sub("_", base).lstrip(".-") or "image")
    suffix = path.suffix[: MAX_NAME // 4]
    return path.name.removesuffix(path.suffix)[: MAX_NAME - len(suffix)] + suffix
