"""The readers of the database: a few threads, each with a connection of its own."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apsw

from server.store.database import connect, fetch


class Readers:
    """Runs single statements that only read.

    Args:
        path: The database, which exists.
        threads: How many statements may run at once.
    """

    def __init__(self, path: Path, threads: int) -> None:
        self._path = path
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="store-reader")
        self._local = threading.local()

    async def fetch(
        self, statement: str, values: "apsw.Bindings | None" = None
    ) -> list[Any]:  # rows of any types
        """All rows of a statement."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._fetch, statement, values)

    async def close(self) -> None:
        """Finish what is being read."""
        await asyncio.to_thread(self._threads.shutdown)

    def _fetch(self, statement: str, values: "apsw.Bindings | None") -> list[Any]:
        if not hasattr(self._local, "connection"):
            self._local.connection = connect(self._path, apsw.SQLITE_OPEN_READONLY)
        return fetch(self._local.connection, statement, values)
