"""A disk that notes what SQLite does to it: what was written, and what was synced."""

import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import apsw


class Operation(NamedTuple):
    """What SQLite asked of a file. `lost`: a sync that failed, as Linux has it: what was to be
    written stays readable, but is never written any more."""

    kind: str  # open, write, truncate, delete, sync, lost
    name: str
    offset: int = 0
    data: bytes = b""


class NotingVFS(apsw.VFS):
    """The real file system, noted down."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.syncs_fail = 0  # so many of the next
        self.before_sync: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        super().__init__("noting", "unix", makedefault=True)

    def xOpen(  # noqa: N802
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        if not Path(path).exists():
            self.note("open", path)
        return NotedFile(self, path, name, flags)

    def xDelete(self, name: str, syncdir: bool) -> None:  # noqa: N802
        super().xDelete(name, syncdir)
        self.note("delete", name)

    def note(self, kind: str, path: str, offset: int = 0, data: bytes = b"") -> None:
        with self._lock:
            self.operations.append(Operation(kind, Path(path).name, offset, data))


class NotedFile(apsw.VFSFile):
    def __init__(
        self, vfs: NotingVFS, path: str, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        self._vfs, self._path = vfs, path
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        super().xWrite(data, offset)
        self._vfs.note("write", self._path, offset, bytes(data))

    def xTruncate(self, size: int) -> None:  # noqa: N802
        super().xTruncate(size)
        self._vfs.note("truncate", self._path, size)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._vfs.before_sync()
        if self._vfs.syncs_fail:
            self._vfs.syncs_fail -= 1
            self._vfs.note("lost", self._path)
            raise apsw.IOError("the disk failed")
        super().xSync(flags)
        self._vfs.note("sync", self._path)


class Disk:
    """What is on the disk after some operations: what is sure to be, and what may be."""

    def __init__(self) -> None:
        self.sure: dict[str, bytearray] = {}
        self.unsure: dict[str, list[Operation]] = {}

    def apply(self, operation: Operation) -> None:
        kind, name, *_ = operation
        waiting = self.unsure.setdefault(name, [])
        if kind == "lost":
            self.unsure[name] = [each for each in waiting if each.kind in {"open", "delete"}]
        elif kind != "sync":
            waiting.append(operation)
        else:
            if any(each.kind == "open" for each in waiting):
                self._sync_names()  # SQLite syncs the folder with a new file
            _perform(self.sure, waiting, _all)
            waiting.clear()

    def after_a_cut(self, chance: random.Random | None, sector: int) -> dict[str, bytes]:
        """The files; with a chance, any sectors of what was not synced were written too."""
        files = {name: bytearray(data) for name, data in self.sure.items()}
        if chance:
            for waiting in self.unsure.values():
                _perform(files, waiting, lambda each: _torn(each, chance, sector))
        return {name: bytes(data) for name, data in files.items()}

    def _sync_names(self) -> None:
        for waiting in self.unsure.values():
            while waiting and waiting[0].kind in {"open", "delete"}:
                _perform(self.sure, [waiting.pop(0)], _all)


def _perform(
    files: dict[str, bytearray],
    operations: list[Operation],
    written: Callable[[Operation], list[Operation]],
) -> None:
    for whole in operations:
        parts = written(whole)
        if whole.kind in {"open", "delete"} and not parts:
            return  # what follows was done to a file that has no name
        for kind, name, offset, data in parts:
            if kind == "delete":
                files.pop(name, None)
                continue
            file = files.setdefault(name, bytearray())
            if kind == "write":
                file.extend(bytes(max(0, offset - len(file))))
                file[offset : offset + len(data)] = data
            elif kind == "truncate":
                del file[offset:]


def _all(operation: Operation) -> list[Operation]:
    return [operation]


def _torn(operation: Operation, chance: random.Random, sector: int) -> list[Operation]:
    if operation.kind != "write":
        return [operation] if chance.random() < 0.5 else []
    kind, name, offset, data = operation
    edges = [offset, *range(offset - offset % sector + sector, offset + len(data), sector)]
    return [
        Operation(kind, name, begin, data[begin - offset : end - offset])
        for begin, end in zip(edges, [*edges[1:], offset + len(data)], strict=True)
        if chance.random() < 0.5
    ]
