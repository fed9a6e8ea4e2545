"""The service: predict, submit, get, list, delete. The one place where predictions change."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Final

import orjson

from server.backlog import Backlog
from server.errors import BY_CODE, NotFoundError, QueueFullError, ServerError, StorageFullError
from server.idempotency import Idempotency
from server.inference import STORAGE_RETRY_SECONDS, Inference
from server.prediction import Prediction, Status, accepted
from server.rate import Rate
from server.store import IdempotencyKey, Page, Pending, Query, Store, Upload
from server.store.saved_images import SavedImages
from server.store.space import FreeSpace
from server.waiters import Waiters

log = logging.getLogger(__name__)


class Predictions:
    """Runs images through the model and records every answer before it is given.

    Args:
        store: Where predictions are kept.
        saved_images: Where images are kept whose clients asked for it.
        space: The gate before what must be kept.
        inference: The way to the model.
        idempotency: Answers repeated requests.
        max_pending: Most accepted predictions that may wait.
        slots: How many accepted predictions may be on their way through the batcher at once.
    """

    def __init__(  # noqa: PLR0913 - the service joins the parts, each made elsewhere
        self,
        *,
        store: Store,
        saved_images: SavedImages,
        space: FreeSpace,
        inference: Inference,
        idempotency: Idempotency,
        max_pending: int,
        slots: int,
    ) -> None:
        self._store = store
        self._saved_images = saved_images
        self._space = space
        self._inference = inference
        self._idempotency = idempotency
        self._waiters = Waiters()
        self.max_pending: Final = max_pending
        self.pending = 0
        self.backlog: Final = Backlog(store.pending, self._run, slots)
        self.rate: Final = Rate()

    async def begin(self) -> None:
        """Learn what was Pending before the start, and tidy up after a server that was killed."""
        counts = await self._store.counts()
        self.pending = counts[Status.PENDING]
        for request_id in await self._saved_images.doubtful():
            found = await self._store.get(request_id)
            if found and found.status is not Status.PENDING:
                await self._saved_images.trust(request_id)
            else:  # one that is Pending saves its image again when it is run
                await self._saved_images.delete(request_id)

    async def predict(self, upload: Upload, key: IdempotencyKey | None = None) -> Prediction:
        """Run the model on an image and record its answer: a Success or a Fail.

        Raises:
            QueueFullError, QueueTimeoutError: Too many requests wait.
            StorageFullError: The answer could not be kept.
            ServerError: The image can't be used (4xx); nothing is recorded.
        """
        return await self._idempotency.once(key, lambda: self._predict(upload, key))

    async def submit(self, upload: Upload, key: IdempotencyKey | None = None) -> Prediction:
        """Accept an image: once this returns, it will be run, whatever happens to the server.

        Raises:
            QueueFullError: Too many accepted predictions wait.
            StorageFullError: There is no room to keep it.
        """
        return await self._idempotency.once(key, lambda: self._submit(upload, key))

    async def get(self, request_id: str, wait: float = 0) -> Prediction:
        """The prediction of that id.

        Args:
            request_id: Its id.
            wait: Seconds to wait for its end while it is Pending.

        Raises:
            NotFoundError: There is none.
        """
        if not wait:
            return await self._get(request_id)
        news = self._waiters.register(request_id)  # before the first look, so that none is missed
        try:
            prediction = await self._get(request_id)
            if prediction.status is Status.PENDING:
                await asyncio.wait([news], timeout=wait)
                prediction = await self._get(request_id)
            return prediction
        finally:
            self._waiters.forget(request_id, news)

    async def page(self, query: Query) -> Page:
        """The newest results that match."""
        return await self._store.page(query)

    async def delete(self, request_id: str) -> None:
        """Delete a prediction; one that is Pending is never run, or its answer is dropped.

        Raises:
            NotFoundError: There is none.
        """
        await self._saved_images.delete(request_id)  # first: no kill leaves it without its record
        status = await self._store.delete(request_id)
        if status is None:
            raise _unknown(request_id)
        if status is Status.PENDING:
            self.pending -= 1
            self.backlog.cancel(request_id)
            await self._saved_images.delete(request_id)
        self._waiters.tell(request_id)

    async def delete_all(self) -> int:
        """Delete every prediction; how many there were."""
        running = self.backlog.running_ids()  # those accepted from now on are nobody's to cancel
        await self._saved_images.delete_all()
        deleted, pending = await self._store.delete_all()
        self.pending -= pending
        for request_id in running:
            self.backlog.cancel(request_id)
            self._waiters.tell(request_id)
        return deleted

    async def drain(self) -> None:
        """Let nobody wait for what may never come, begin nothing, finish what runs."""
        self._waiters.close()
        await self.backlog.drain()

    def require_room(self) -> None:
        """Refuse a blocking predict that has no chance, before its body is read.

        Raises:
            QueueFullError: Too many requests wait.
        """
        self._inference.batcher.require_room()

    def require_pending_room(self) -> None:
        """Refuse an async predict that has no chance, before its body is read.

        Raises:
            QueueFullError: Too many accepted predictions wait.
        """
        if self.pending >= self.max_pending:
            raise QueueFullError(
                f"{self.pending} accepted predictions wait, as many as may. Try again later.",
                retry_after=self._inference.batcher.seconds_for(1),
            )

    async def _predict(self, upload: Upload, key: IdempotencyKey | None) -> Prediction:
        await self._space.require()
        finished = await self._inference.answer(accepted(), upload)
        if finished.error and (error := BY_CODE[finished.error]).status < 500:
            raise error(orjson.loads(finished.response))
        await _to_its_end(self._record(finished, upload, key))
        return finished

    async def _record(
        self, prediction: Prediction, upload: Upload, key: IdempotencyKey | None
    ) -> None:
        """Record a blocking predict's end."""
        async with self._saved(prediction, upload):
            await self._store.add(prediction, key=key)
        self.rate.mark()

    async def _submit(self, upload: Upload, key: IdempotencyKey | None) -> Prediction:
        self.require_pending_room()
        self.pending += 1  # reserved before the first await
        prediction = accepted()
        await _to_its_end(self._accept(prediction, upload, key))
        return prediction

    async def _accept(
        self, prediction: Prediction, upload: Upload, key: IdempotencyKey | None
    ) -> None:
        try:
            await self._space.require()
            await self._store.add(prediction, upload, key)
        except BaseException:
            self.pending -= 1
            raise
        self.backlog.notify()

    async def _run(self, pending: Pending) -> None:
        """Run an accepted prediction to its end; the backlog's tasks are made of this."""
        found = await self._store.accepted(pending.request_id)
        if not found:
            return  # deleted meanwhile
        suspect = pending.seq <= self._store.suspects_end
        try:
            finished = await self._inference.answer_accepted(found, suspect=suspect)
        except Exception:
            log.exception("prediction %s failed", pending.request_id)
            finished = found.prediction.failed(
                ServerError.code, "The server failed to run this image; its log says why."
            )
        await self._finish(finished, found.upload)

    async def _finish(self, prediction: Prediction, upload: Upload) -> None:
        """Record an accepted prediction's end, waiting for room on a full disk."""
        while not await self._try_to_finish(prediction, upload):  # noqa: ASYNC110
            await asyncio.sleep(STORAGE_RETRY_SECONDS)
        self._waiters.tell(prediction.request_id)

    async def _try_to_finish(self, prediction: Prediction, upload: Upload) -> bool:
        try:
            async with self._saved(prediction, upload):
                recorded = await self._store.finish(prediction)
        except StorageFullError:
            return False
        if recorded:
            self.pending -= 1
            self.rate.mark()
        else:  # deleted meanwhile
            await self._saved_images.delete(prediction.request_id)
        return True

    @asynccontextmanager
    async def _saved(self, prediction: Prediction, upload: Upload) -> AsyncIterator[None]:
        """Save the image, if asked: in doubt until the result is committed, in this context."""
        if not upload.save_locally:
            yield
            return
        images, request_id = self._saved_images, prediction.request_id
        await images.doubt(request_id)
        try:
            await images.save(request_id, upload.name, upload.data)
            yield
        except Exception:  # not a cancellation, after which the commit may be done: `begin` sees
            await images.delete(request_id)
            raise
        await images.trust(request_id)

    async def _get(self, request_id: str) -> Prediction:
        if prediction := await self._store.get(request_id):
            return prediction
        raise _unknown(request_id)


async def _to_its_end(recording: Coroutine[None, None, None]) -> None:
    """Await what a client that leaves does not undo.

    Its key is in use until then: another request under it must find what this one recorded.
    """
    task = asyncio.create_task(recording, name="record")
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _unknown(request_id: str) -> NotFoundError:
    return NotFoundError(f"There is no result {request_id}: it was never made, or was deleted.")
