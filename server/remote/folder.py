"""The remote in a folder of this machine or its network."""

import asyncio
import contextlib
import errno
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from server.remote import Blob, Object, RemoteError
from server.remote.folder_files import Files
from server.remote.keys import checked, checked_prefix
from server.remote.parts import in_parts

_P = ParamSpec("_P")
_T = TypeVar("_T")

_SECONDS: Final = 30.0
_PIECE: Final = 2**20
_BATCH: Final = 1000
_THREADS: Final = 4
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN: Final = {errno.EACCES, errno.EPERM, errno.EROFS}


class FolderRemote:
    """A `Remote` in a folder, which several servers may share.

    It has threads of its own: when a network folder hangs, nothing else does.

    Args:
        root: The folder; made when something is first written.
        seconds: How long each step may take, of at most 8 MiB or 1,000 files.
    """

    def __init__(self, root: Path, seconds: float = _SECONDS) -> None:
        self.url = root.as_uri()
        self._files = Files(root, seconds / 3)
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="folder")

    async def read(self, key: str) -> Blob:
        """A small object, whole."""
        return await self._run(self._files.read, checked(key))

    async def stream(self, key: str) -> AsyncGenerator[bytes, None]:
        """A large object in pieces of a mebibyte."""
        file = await self._run(self._files.open, checked(key))
        try:
            while piece := await self._run(file.read, _PIECE):
                yield piece
        finally:
            await self._run(file.close)

    async def write(self, key: str, data: bytes, *, replaces: str | None) -> None:
        """Keep these bytes, if what is there is what the caller thinks."""
        await self._run(self._files.write, checked(key), data, replaces)

    async def write_stream(self, key: str, pieces: AsyncIterator[bytes]) -> int:
        """Keep a new object of any size."""
        checked(key)
        size = 0
        file = await self._run(self._files.begin)
        try:
            async with contextlib.aclosing(in_parts(pieces)) as parts:
                async for part in parts:
                    size += await self._run(file.write, part)
            await self._run(self._files.keep, file, key, None)
        finally:
            with contextlib.suppress(RemoteError):  # what stays is cleared away an hour later
                await asyncio.shield(self._run(self._files.discard, file))
        return size

    async def list(self, prefix: str) -> AsyncIterator[Object]:
        """Every object whose key begins so; the names of one folder at a time are in memory."""
        async for found in self._below("", checked_prefix(prefix)):
            yield found

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove objects, a thousand at a time."""
        names = [checked(key) for key in keys]
        for start in range(0, len(names), _BATCH):
            await self._run(self._files.delete, names[start : start + _BATCH])

    async def close(self) -> None:
        """Begin nothing more; a step that hangs is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _below(self, folder: str, prefix: str) -> AsyncIterator[Object]:
        keys = [folder + name for name in await self._run(self._files.names, folder)]
        for is_folder, group in groupby(keys, lambda key: key.endswith("/")):
            if is_folder:
                for key in group:
                    if key.startswith(prefix) or prefix.startswith(key):
                        async for found in self._below(key, prefix):
                            yield found
                continue
            found_keys = [key for key in group if key.startswith(prefix)]
            for start in range(0, len(found_keys), _BATCH):
                batch = found_keys[start : start + _BATCH]
                for found in await self._run(self._files.objects, batch):
                    yield found

    async def _run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run what blocks in a thread, for so long; a RemoteError for what goes wrong."""
        try:
            async with asyncio.timeout(self._seconds):
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._threads, partial(function, *args, **kwargs))
        except OSError as error:
            raise RemoteError(f"{self.url} {_explained(error)}") from error


def _explained(error: OSError) -> str:
    """What is wrong and what to do."""
    if isinstance(error, TimeoutError):
        return "does not answer in time: check the disk or the network that it is on"
    if error.errno in _FULL:
        return "is full: make room there"
    if error.errno in _FORBIDDEN:
        return "can't be used: the server's user must be able to write, link and delete there"
    return f"can't be used ({error.strerror}): check the disk or the network that it is on"
