"""The service: predict, submit, get, list, delete. The one place where predictions change."""

import asyncio
import logging
from typing import Final

import orjson

from server.backlog import Backlog
from server.batcher import Answer, Batcher
from server.errors import (
    BY_CODE,
    NotFoundError,
    PredictTimeoutError,
    ServerError,
    StorageFullError,
    WorkerLostError,
)
from server.model.hosted import ImageInput, ModelInfo, Outcome
from server.prediction import Prediction, Timings, accepted
from server.store import Page, Query, Store, Upload
from server.store.saved_images import SavedImages

log = logging.getLogger(__name__)

STORAGE_RETRY_SECONDS: Final = 1.0


class Predictions:
    """Runs images through the model and records every answer before it is given.

    Args:
        store: Where predictions are kept.
        saved_images: Where images are kept whose clients asked for it.
        batcher: The way to the workers.
        slots: How many accepted predictions may be on their way through the batcher at once.
    """

    def __init__(
        self,
        store: Store,
        saved_images: SavedImages,
        batcher: Batcher[ImageInput, Outcome],
        slots: int,
    ) -> None:
        self._store = store
        self._saved_images = saved_images
        self._batcher = batcher
        self.backlog: Final = Backlog(store.pending, self._run, slots)
        self.model: ModelInfo | None = None

    async def predict(self, upload: Upload) -> Prediction:
        """Run the model on an image and record its answer: a Success or a Fail.

        Raises:
            QueueFullError: Too many requests wait.
            ServerError: The image can't be used (4xx); nothing is recorded.
        """
        finished = await self._ask(accepted(), upload)
        if finished.error and (error := BY_CODE[finished.error]).status < 500:
            raise error(orjson.loads(finished.response))
        # a client that leaves now does not undo what the model did
        await asyncio.shield(self._record(finished, upload))
        return finished

    async def submit(self, upload: Upload) -> Prediction:
        """Accept an image: once this returns, it will be run, whatever happens to the server."""
        prediction = accepted()
        try:
            await self._store.add(prediction, upload)
        finally:  # cancelled or not, it may be on disk now
            self.backlog.notify()
        return prediction

    async def get(self, request_id: str) -> Prediction:
        """The prediction of that id.

        Raises:
            NotFoundError: There is none.
        """
        if prediction := await self._store.get(request_id):
            return prediction
        raise _unknown(request_id)

    async def page(self, query: Query) -> Page:
        """The newest results that match."""
        return await self._store.page(query)

    async def delete(self, request_id: str) -> None:
        """Delete a prediction; one that is Pending is never run, or its answer is dropped.

        Raises:
            NotFoundError: There is none.
        """
        if not await self._store.delete(request_id):
            raise _unknown(request_id)
        self.backlog.cancel(request_id)
        await self._saved_images.delete(request_id)

    async def delete_all(self) -> int:
        """Delete every prediction; how many there were."""
        deleted = await self._store.delete_all()
        self.backlog.cancel_all()
        await self._saved_images.delete_all()
        return deleted

    async def _run(self, request_id: str) -> None:
        """Run an accepted prediction to its end; the backlog's tasks are made of this."""
        found = await self._store.upload(request_id)
        if not found:
            return  # deleted meanwhile
        prediction, upload = found
        try:
            finished = await self._ask(prediction, upload, background=True)
        except Exception:
            log.exception("prediction %s failed", request_id)
            finished = prediction.failed(
                ServerError.code, "The server failed to run this image; its log says why."
            )
        await self._finish(finished, upload)

    async def _finish(self, prediction: Prediction, upload: Upload) -> None:
        """Record an accepted prediction's end, waiting for room on a full disk."""
        while True:
            try:
                await self._save(prediction, upload)
                if not await self._store.finish(prediction):  # deleted meanwhile
                    await self._saved_images.delete(prediction.request_id)
            except StorageFullError:
                await asyncio.sleep(STORAGE_RETRY_SECONDS)
            else:
                return

    async def _record(self, prediction: Prediction, upload: Upload) -> None:
        """Record a blocking predict's end."""
        await self._save(prediction, upload)
        await self._store.add(prediction)

    async def _save(self, prediction: Prediction, upload: Upload) -> None:
        if upload.save_locally:
            await self._saved_images.save(prediction.request_id, upload.name, upload.data)

    async def _ask(
        self, prediction: Prediction, upload: Upload, *, background: bool = False
    ) -> Prediction:
        """The prediction, finished by the model's answer or by its failure."""
        item = ImageInput(upload.data, upload.name)
        try:
            if background:
                answer = await self._batcher.submit_background(item)
            else:
                answer = await self._batcher.submit(item, len(upload.data))
        except (WorkerLostError, PredictTimeoutError) as error:
            return prediction.failed(error.code, error.sentence, self._model_label())
        return self._finished(prediction, answer)

    def _finished(self, prediction: Prediction, answer: Answer[Outcome]) -> Prediction:
        outcome = answer.value
        timings = Timings(
            round(answer.queued_ms, 3), round(outcome.decode_ms, 3), round(outcome.predict_ms, 3)
        )
        if outcome.response is not None:
            return prediction.succeeded(outcome.response, self._model_label(), timings)
        return prediction.failed(
            outcome.error or ServerError.code,
            outcome.sentence or "The model gave no answer.",
            self._model_label(),
            timings,
        )

    def _model_label(self) -> str | None:
        if not self.model:
            return None
        return f"{self.model.name}@{self.model.version}" if self.model.version else self.model.name


def _unknown(request_id: str) -> NotFoundError:
    return NotFoundError(f"There is no result {request_id}: it was never made, or was deleted.")
