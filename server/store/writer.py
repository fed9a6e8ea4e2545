"""The one writer of the database: a thread whose waiting callers share a commit."""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import apsw

from server.errors import StorageFullError

T = TypeVar("T")

log = logging.getLogger(__name__)

MAX_GROUP: Final = 256
"""Most calls that share a commit: bounds how long the first of them waits for the last."""


@dataclass(slots=True, eq=False)
class _Call:
    work: Callable[[apsw.Connection], Any]  # Any: each caller knows the type of its own answer
    done: asyncio.Future[Any]
    answer: Any = None  # of `work`, whose type only its caller knows
    error: BaseException | None = None


class Writer:
    """Runs functions on a connection of its own, in groups of one transaction each.

    A call's answer arrives when its transaction is on disk (WAL, `synchronous=FULL`). A call that
    raises is rolled back alone; the others of its group are committed.

    Args:
        connection: Used by the writer's thread alone from now on.
        on_broken: Told, on the event loop, of an error after which nothing more may be promised: a
            commit or an fsync that failed. Never called for a full disk, which passes.
    """

    def __init__(
        self, connection: apsw.Connection, on_broken: Callable[[BaseException], None]
    ) -> None:
        self._connection = connection
        self._on_broken = on_broken
        self._loop = asyncio.get_running_loop()
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._broken: BaseException | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._main, name="store-writer", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[apsw.Connection], T]) -> T:
        """The answer of `work`, once it is on disk.

        A caller that is cancelled meanwhile does not undo it.

        Raises:
            StorageFullError: No room on the disk; nothing was written.
            RuntimeError: The writer is closed.
        """
        if self._closed:
            raise RuntimeError("the store is closed")
        call = _Call(work, self._loop.create_future())
        self._calls.put(call)
        answer: T = await call.done
        return answer

    async def close(self) -> None:
        """Finish what waits, then end the thread and close the connection."""
        self._closed = True
        self._calls.put(None)
        await asyncio.to_thread(self._thread.join)

    def _main(self) -> None:
        closing = False
        while not closing:
            group = [self._calls.get()]
            while len(group) < MAX_GROUP and not self._calls.empty():
                group.append(self._calls.get())
            closing = None in group
            calls = [call for call in group if call]
            self._commit(calls)
            self._loop.call_soon_threadsafe(_deliver, calls)
        self._connection.close()

    def _commit(self, calls: list[_Call]) -> None:
        if self._broken:
            _fail(calls, self._broken)
            return
        try:
            self._transact(calls)
        except apsw.FullError:
            _fail(calls, StorageFullError())
        except Exception as error:  # noqa: BLE001 - the boundary of the thread: callers get it
            self._break(error)
            _fail(calls, error)

    def _transact(self, calls: list[_Call]) -> None:
        """Run calls in one transaction."""
        try:
            self._begin()
            for call in calls:
                self._perform(call)
            self._connection.execute("COMMIT")
        except Exception:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _begin(self) -> None:
        """Begin to write at once: a deferred transaction may fail when it turns to writing."""
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except apsw.BusyError:  # nothing was written: waiting is safe
                log.warning("another program holds the database; waiting for it")
            else:
                return

    def _perform(self, call: _Call) -> None:
        """Run one call in a savepoint of its own."""
        self._connection.execute("SAVEPOINT call")
        try:
            call.answer = call.work(self._connection)
        except (apsw.FullError, apsw.IOError, apsw.CorruptError):
            raise  # SQLite may have rolled the whole group back: none of it is true any more
        except Exception as error:  # noqa: BLE001 - one caller's error must not become another's
            self._connection.execute("ROLLBACK TO call")
            call.error = error
        self._connection.execute("RELEASE call")

    def _break(self, error: BaseException) -> None:
        """After a failed commit or fsync nobody knows what the disk holds: promise nothing more."""
        self._broken = error
        log.error("the database can't be written any more, so the server stops: %s", error)
        self._loop.call_soon_threadsafe(self._on_broken, error)


def _fail(calls: list[_Call], error: BaseException) -> None:
    for call in calls:
        call.error = error


def _deliver(calls: list[_Call]) -> None:
    for call in calls:
        if call.done.done():
            continue
        if call.error:
            call.done.set_exception(call.error)
        else:
            call.done.set_result(call.answer)
