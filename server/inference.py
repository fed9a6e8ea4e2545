"""Inference: a prediction's way from its image to the model's answer, attempt by attempt."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Final

from server.batcher import Answer, Batcher
from server.errors import PredictTimeoutError, ServerError, StorageFullError, WorkerLostError
from server.model.hosted import ImageInput, ModelInfo, Outcome
from server.prediction import Prediction, Timings
from server.store import Accepted, Upload

MAX_ATTEMPTS: Final = 3
"""How often an image may take its worker down before it is given up."""

STORAGE_RETRY_SECONDS: Final = 1.0
"""How often what has to be recorded is tried again on a full disk."""

PATIENCE_SECONDS: Final = 0.025
"""How long a step of what is not urgent stands behind predicts that never end."""

POLL_SECONDS: Final = 0.002


class Inference:
    """Asks the workers for a prediction's answer.

    Args:
        batcher: The way to the workers.
        workers: How many there are.
        count_attempt: The store's: adds to an accepted prediction's attempts, durably.
    """

    def __init__(
        self,
        batcher: Batcher[ImageInput, Outcome],
        workers: int,
        count_attempt: Callable[[str, int], Awaitable[int]],
    ) -> None:
        self.batcher: Final = batcher
        self.model: ModelInfo | None = None
        self._count_attempt = count_attempt
        self._suspects = asyncio.Semaphore(workers)
        self._accused = asyncio.Lock()

    async def answer(self, prediction: Prediction, upload: Upload) -> Prediction:
        """Finish a prediction that its client waits for.

        An image that takes its worker down alone is tried again, since that may not be its fault;
        one that overruns is not, since its client waits.

        Raises:
            QueueFullError, QueueTimeoutError: It was never begun.
        """
        item = ImageInput(upload.data, upload.name)
        lost = 0

        async def count(change: int) -> int:
            nonlocal lost
            lost += change
            return lost

        try:
            answer = await self.batcher.submit(item, len(upload.data))
        except PredictTimeoutError as error:
            return prediction.failed(error.code, error.sentence, self._label())
        except WorkerLostError:
            await count(1)
            return await self._alone(prediction, item, lost, count)
        return self._finished(prediction, answer)

    async def answer_accepted(self, accepted: Accepted, *, suspect: bool) -> Prediction:
        """Finish an accepted prediction.

        Args:
            accepted: What to run.
            suspect: It was there when the server ended badly, maybe by its fault: it runs alone,
                and counts as lost until it is done.
        """
        prediction, upload, attempts = accepted
        item = ImageInput(upload.data, upload.name)

        async def count(change: int) -> int:
            return await self._count(prediction.request_id, change)

        if not suspect and not attempts:
            try:
                answer = await self.batcher.submit_background(item)
            except (WorkerLostError, PredictTimeoutError):
                attempts = await count(1)
            else:
                return self._finished(prediction, answer)
        # one that was running when a server ended is never run beside another such one: else the
        # innocent neighbour of a deadly image would be counted out with it
        async with self._accused if suspect and attempts else self._suspects:
            return await self._alone(prediction, item, attempts, count)

    async def calm(self) -> None:
        """Return when no image waits or runs, but soon anyway: for what is to stand behind them."""
        end = time.monotonic() + PATIENCE_SECONDS
        while self.batcher.waiting or self.batcher.running:
            if time.monotonic() > end:
                return
            await asyncio.sleep(POLL_SECONDS)

    async def _alone(
        self,
        prediction: Prediction,
        item: ImageInput,
        attempts: int,
        count: Callable[[int], Awaitable[int]],
    ) -> Prediction:
        """Run a suspect by itself until it answers or has used its attempts, each counted first."""
        error: ServerError = WorkerLostError("The worker or the server ended with this image.")
        while attempts < MAX_ATTEMPTS:
            attempts = await count(1)
            try:
                answer = await self.batcher.submit_background(item, alone=True)
                return self._finished(prediction, answer)
            except (WorkerLostError, PredictTimeoutError) as lost:
                error = lost
            except asyncio.CancelledError:  # the server stops: that is not the image's fault
                with contextlib.suppress(StorageFullError):
                    await asyncio.shield(count(-1))
                raise
        sentence = f"{error.sentence} That was attempt {attempts}: it is given up."
        return prediction.failed(error.code, sentence, self._label())

    async def _count(self, request_id: str, change: int) -> int:
        """Count an attempt; on a full disk it waits for room, since nothing runs uncounted."""
        while True:
            try:
                return await self._count_attempt(request_id, change)
            except StorageFullError:
                if change < 0:
                    raise
                await asyncio.sleep(STORAGE_RETRY_SECONDS)

    def _finished(self, prediction: Prediction, answer: Answer[Outcome]) -> Prediction:
        outcome = answer.value
        timings = Timings(
            round(answer.queued_ms, 3), round(outcome.decode_ms, 3), round(outcome.predict_ms, 3)
        )
        if outcome.response is not None:
            return prediction.succeeded(outcome.response, self._label(), timings)
        return prediction.failed(
            outcome.error or ServerError.code,
            outcome.sentence or "The model gave no answer.",
            self._label(),
            timings,
        )

    def _label(self) -> str | None:
        if not self.model:
            return None
        return f"{self.model.name}@{self.model.version}" if self.model.version else self.model.name
