"""The files of a folder remote: all that blocks, for a thread to run."""

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import Final
from uuid import uuid4

from server.remote import MAX_READ, Blob, ConflictError, MissingError, Object, RemoteError
from server.remote.keys import is_key

_TEMPORARY: Final = ".tmp-"
_STALE_SECONDS: Final = 3600
_LOCK: Final = ".lock"
_TRIES: Final = 3


class Files:
    """Objects as files: each appears whole and at once, or not at all.

    Args:
        root: The folder; made when something is first written.
        patience: Seconds to wait for another server that replaces or deletes.
    """

    def __init__(self, root: Path, patience: float) -> None:
        self._root = root
        self._patience = patience

    def open(self, key: str) -> BufferedReader:
        """An object, to be read from its beginning."""
        with self._missing(key):
            return (self._root / key).open("rb")

    def read(self, key: str) -> Blob:
        """An object; the tag is the SHA-256 of its bytes."""
        with self.open(key) as file:
            data = file.read(MAX_READ + 1)
        if len(data) > MAX_READ:
            raise RemoteError(f"{self._root / key} has more than {MAX_READ} bytes: remove it")
        return Blob(data, hashlib.sha256(data).hexdigest())

    def begin(self) -> BufferedWriter:
        """A file that no list shows, to become an object by `keep`."""
        if not self._root.exists():
            self._root.mkdir(parents=True, exist_ok=True)
            _sync(self._root.parent)
        for path in self._root.glob(f"{_TEMPORARY}*"):
            with contextlib.suppress(FileNotFoundError):  # another server clears up as well
                if path.stat().st_mtime < time.time() - _STALE_SECONDS:
                    path.unlink()
        return (self._root / f"{_TEMPORARY}{uuid4().hex}").open("xb")

    def keep(self, file: BufferedWriter, key: str, replaces: str | None) -> None:
        """Make it the object under the key, for good; `discard` is still due.

        Raises:
            ConflictError: There is another than the one of that tag, or, for None, there is one.
        """
        file.flush()
        os.fsync(file.fileno())
        if replaces is None:
            self._link(Path(file.name), self._root / key)
        else:
            self._replace(Path(file.name), key, replaces)
        folder = (self._root / key).parent
        while folder.is_relative_to(self._root):
            _sync(folder)
            folder = folder.parent

    def discard(self, file: BufferedWriter) -> None:
        """Remove what was begun; the object that it became stays."""
        Path(file.name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a full disk is as full for what is still buffered
            file.close()

    def write(self, key: str, data: bytes, replaces: str | None) -> None:
        """Keep an object, if what is there has that tag, or nothing is."""
        file = self.begin()
        try:
            file.write(data)
            self.keep(file, key, replaces)
        except ConflictError:
            if not self._holds(key, data):
                raise
        finally:
            self.discard(file)

    def names(self, folder: str) -> list[str]:
        """What is in a folder, '' or one that ends in '/': names, those of folders end in '/'.

        In the order of all keys below them. Links and names that no key has are left out.
        """
        try:
            with os.scandir(self._root / folder) as entries:
                found = [
                    f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name
                    for entry in entries
                    if is_key(entry.name) and not entry.is_symlink()
                ]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(found)

    def objects(self, keys: Sequence[str]) -> list[Object]:
        """What there is to tell of objects, but for those that are gone by now."""
        found = []
        for key in keys:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                stat = (self._root / key).stat()
                found.append(Object(key, stat.st_size, stat.st_mtime))
        return found

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects, and the folders that nothing is left in."""
        if not self._root.exists():
            return
        with self._locked():
            for key in keys:
                path = self._root / key
                with contextlib.suppress(MissingError), self._missing(key):
                    path.unlink()
                with contextlib.suppress(OSError):  # what is not empty stays
                    while (path := path.parent) != self._root:
                        path.rmdir()

    def _link(self, temporary: Path, path: Path) -> None:
        """Give the file its name unless that is taken, as one step, for all servers."""
        for attempt in range(_TRIES):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(temporary, path)
            except FileExistsError:
                raise ConflictError(f"there is an object at {path} already") from None
            except FileNotFoundError:  # another server just removed the empty folder
                if attempt == _TRIES - 1:
                    raise
            else:
                return

    def _replace(self, temporary: Path, key: str, tag: str) -> None:
        with self._locked():
            try:
                found = self.read(key).tag
            except MissingError:
                found = None
            if found != tag:
                raise ConflictError(f"{self._root / key} was changed by another server")
            temporary.replace(self._root / key)

    def _holds(self, key: str, data: bytes) -> bool:
        """Whether these very bytes are under the key: a network folder may have done it twice."""
        try:
            return self.read(key).data == data
        except MissingError:
            return False

    @contextlib.contextmanager
    def _missing(self, key: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise MissingError(f"there is no object at {self._root / key}") from None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Be the only one, of all servers, that replaces or deletes."""
        descriptor = os.open(self._root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            end = time.monotonic() + self._patience
            while not _lock(descriptor):
                if time.monotonic() > end:
                    raise RemoteError(f"another server holds {self._root / _LOCK}: end it")
                time.sleep(0.005)
            yield
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Try to; never wait, as nothing could end that."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sync(folder: Path) -> None:
    """Keep the names in a folder through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
