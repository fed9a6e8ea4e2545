"""Servers that share a remote, all in this process, and what may go wrong between them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path

from server.backup.exporter import Exporter
from server.backup.importer import Importer
from server.prediction import Prediction, Status, accepted
from server.remote import Blob, Object, Remote, RemoteError
from server.remote.folder import FolderRemote
from server.store import Query
from server.store.sqlite import SQLiteStore
from tests.unit.store.stores import TIMINGS


class KilledError(BaseException):
    """The process of a server ended here."""


Event = Callable[[], Awaitable[None]]


class Troubled:
    """A remote where, at one call, something happens.

    Attributes:
        calls: How many there were.
        at: The number of the call; None: nothing happens.
        before: What happens before the call.
        after: What happens after it was done.
    """

    def __init__(self, remote: Remote) -> None:
        self.url = remote.url
        self._remote = remote
        self.calls = 0
        self.at: int | None = None
        self.before: Event | None = None
        self.after: Event | None = None

    def expect(self, at: int, before: Event | None = None, after: Event | None = None) -> None:
        """Let something happen at a later call: 0 is the next."""
        self.calls, self.at, self.before, self.after = 0, at, before, after

    def calm(self) -> None:
        self.at = None

    async def read(self, key: str) -> Blob:
        now = await self._begin()
        blob = await self._remote.read(key)
        await self._end(now)
        return blob

    async def stream(self, key: str) -> AsyncGenerator[bytes, None]:
        now = await self._begin()
        async with aclosing(self._remote.stream(key)) as pieces:
            async for piece in pieces:
                yield piece
                await self._end(now)
                now = False

    async def write(self, key: str, data: bytes, *, replaces: str | None) -> None:
        now = await self._begin()
        await self._remote.write(key, data, replaces=replaces)
        await self._end(now)

    async def write_stream(self, key: str, pieces: AsyncIterator[bytes]) -> int:
        now = await self._begin()
        size = await self._remote.write_stream(key, pieces)
        await self._end(now)
        return size

    async def list(self, prefix: str) -> AsyncIterator[Object]:
        now = await self._begin()
        async for each in self._remote.list(prefix):
            yield each
            await self._end(now)
            now = False

    async def delete(self, keys: Sequence[str]) -> None:
        now = await self._begin()
        await self._remote.delete(keys)
        await self._end(now)

    async def close(self) -> None:
        await self._remote.close()

    async def _begin(self) -> bool:
        now = self.calls == self.at
        self.calls += 1
        if now and self.before:
            await self.before()
        return now

    async def _end(self, now: bool) -> None:
        if now and self.after:
            await self.after()


async def fail() -> None:
    raise RemoteError("the remote says no")


async def kill() -> None:
    raise KilledError


async def give_way() -> None:
    """Nothing is urgent."""


def ignore(_: int, __: int) -> None:
    """Be told of no progress."""


class Server:
    """A store with an exporter and an importer.

    Args:
        folder: Of its data.
        backup: The folder that servers share.
    """

    def __init__(self, folder: Path, backup: Path) -> None:
        self.folder = folder
        self.broken: list[BaseException] = []
        self.remote = Troubled(FolderRemote(backup))
        self.open()

    def open(self) -> None:
        self.store = SQLiteStore(self.folder, self.broken.append)
        self.restart()

    def restart(self) -> None:
        """Be another process on the same data."""
        self.exporter = Exporter(self.store, self.remote, 0, give_way)
        self.exporter._joined = True  # so that the first call of the remote is what is tested
        self.importer = Importer(self.store, self.remote, give_way)

    async def import_all(self) -> int:
        async with self.exporter.turn:
            return await self.importer.run(ignore)

    async def export_all(self) -> int:
        return await self.exporter.export_all(ignore)

    async def results(self) -> dict[str, Prediction]:
        """All that is finished."""
        return {
            key: each for key, each in (await self.all()).items() if each.status != Status.PENDING
        }

    async def all(self) -> dict[str, Prediction]:
        page = await self.store.page(Query(limit=100_000))
        return {each.request_id: each for each in page.predictions}

    async def close(self) -> None:
        async with asyncio.timeout(10):
            await self.store.close()
        await self.remote.close()
        assert self.broken == []


async def imported(folder: Path, backup: Path) -> dict[str, Prediction]:
    """What a new server gets from the backup."""
    server = Server(folder, backup)
    try:
        await server.import_all()
        return await server.results()
    finally:
        await server.close()


async def record(server: Server, many: int = 1, size: int = 2) -> list[Prediction]:
    made = [accepted().succeeded(b'"' + b"a" * size + b'"', "cats@2", TIMINGS) for _ in range(many)]
    for each in made:
        await server.store.add(each)
    return made


async def keys(server: Server, prefix: str) -> list[str]:
    return [each.key async for each in server.remote.list(prefix)]


async def same(server: Server, tmp_path: Path, backup: Path) -> bool:
    """Whether a new server gets just what this one has, record for record."""
    number = len(list(tmp_path.glob("new*")))
    return await imported(tmp_path / f"new{number}", backup) == await server.results()
