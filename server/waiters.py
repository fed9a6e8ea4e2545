"""The waiters: requests that wait for a prediction's end."""

import asyncio
from collections import defaultdict


class Waiters:
    """Wakes those who wait for an id."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)
        self._closed = False

    def register(self, request_id: str) -> asyncio.Future[None]:
        """A future that is done at the prediction's end; hand it back by `forget`."""
        news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[request_id].add(news)
        if self._closed:
            news.set_result(None)
        return news

    def forget(self, request_id: str, news: asyncio.Future[None]) -> None:
        """Wait no longer."""
        self._waiting[request_id].discard(news)
        if not self._waiting[request_id]:
            del self._waiting[request_id]

    def tell(self, request_id: str) -> None:
        """Wake those who wait for this id."""
        for news in self._waiting.get(request_id, ()):
            if not news.done():
                news.set_result(None)

    def close(self) -> None:
        """Wake everyone, now and later: the server stops."""
        self._closed = True
        for request_id in list(self._waiting):
            self.tell(request_id)
