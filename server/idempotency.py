"""Idempotency keys: a request that is repeated under its key is answered, not run again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from server.errors import IdempotencyConflictError, IdempotencyKeyReusedError
from server.prediction import Prediction, now
from server.store import IdempotencyKey, Store


class Idempotency:
    """Runs each keyed request once, whatever the number of times it is sent.

    Keys of recorded predictions are in the store and outlive restarts; those of requests that
    are being answered are here.

    Args:
        store: Where predictions are kept with their keys.
        retention: Seconds that a key is remembered.
    """

    def __init__(self, store: Store, retention: float) -> None:
        self._store = store
        self.retention_ms: Final = int(retention * 1000)
        self._running: dict[str, tuple[bytes, asyncio.Future[Prediction]]] = {}

    async def once(
        self, key: IdempotencyKey | None, make: Callable[[], Awaitable[Prediction]]
    ) -> Prediction:
        """What `make` answers, or what it answered before under the same key.

        Raises:
            IdempotencyConflictError: The key is in use right now for another request.
            IdempotencyKeyReusedError: It was used for another request.
        """
        if not key:
            return await make()
        while running := self._running.get(key.value):
            fingerprint, answer = running
            if fingerprint != key.fingerprint:
                raise IdempotencyConflictError(
                    "This Idempotency-Key is in use for another image: choose a key for each."
                )
            await asyncio.wait([answer])
            if not answer.cancelled() and not answer.exception():
                return answer.result()
        return await self._first(key, make)

    async def _first(
        self, key: IdempotencyKey, make: Callable[[], Awaitable[Prediction]]
    ) -> Prediction:
        answer: asyncio.Future[Prediction] = asyncio.get_running_loop().create_future()
        self._running[key.value] = key.fingerprint, answer
        try:
            prediction = await self._recorded(key) or await make()
            answer.set_result(prediction)
            return prediction
        finally:
            del self._running[key.value]
            answer.cancel()  # those who wait with us find out for themselves

    async def _recorded(self, key: IdempotencyKey) -> Prediction | None:
        found = await self._store.by_key(key.value, since=now() - self.retention_ms)
        if not found:
            return None
        fingerprint, prediction = found
        if fingerprint != key.fingerprint:
            raise IdempotencyKeyReusedError(
                "This Idempotency-Key was used for another image: choose a key for each."
            )
        return prediction
