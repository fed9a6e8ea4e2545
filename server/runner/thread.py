"""A worker that is a thread of the server's own process."""

import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from typing import Any

from server.errors import PredictTimeoutError, WorkerLostError
from server.model.hosted import HostedModel, ImageInput, ModelInfo, Outcome
from server.runner.worker import WorkerConfig, load_hosted


class ThreadWorker:
    """A model loaded in a thread: no copying, but a crash or a leak is the server's own.

    Args:
        config: What it is made of. Python can't end a thread: a batch that overruns goes on until
            its call returns, unheard, while another worker takes the place of this one.
    """

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        self._images = 0
        self._hosted = HostedModel(config.model, config.limits)
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._asked: Future[Any] = Future()
        # a daemon: a call that never returns must not keep the server from ending
        threading.Thread(target=self._main, name="worker", daemon=True).start()

    @property
    def worn(self) -> bool:
        """Whether it ran as many images as it should."""
        return 0 < self._config.recycle_after <= self._images

    def load(self) -> ModelInfo:
        """Load the model."""
        info: ModelInfo = self._ask(
            lambda: load_hosted(self._hosted), self._config.load_timeout, "load"
        )
        return info

    def run(self, inputs: Sequence[ImageInput]) -> list[Outcome]:
        """One outcome for each input, in order."""
        self._images += len(inputs)
        outcomes: list[Outcome] = self._ask(
            lambda: self._hosted.run(inputs), self._config.predict_timeout, "answer"
        )
        return outcomes

    def close(self) -> None:
        """Let the thread end after what it is doing."""
        self._calls.put(None)

    def kill(self) -> None:
        """Wait no longer for what the thread is doing."""
        _settle(self._asked, error=WorkerLostError("The server stopped while it held this image."))

    def _ask(self, function: Callable[[], Any], timeout: float, doing: str) -> Any:
        self._asked = Future()
        self._calls.put((function, self._asked))
        try:
            return self._asked.result(timeout)
        except TimeoutError:
            if self._asked.done():
                raise  # the model's own
            raise PredictTimeoutError(f"The model did not {doing} within {timeout:g} s.") from None

    def _main(self) -> None:
        while call := self._calls.get():
            function, answer = call
            try:
                _settle(answer, value=function())
            except Exception as error:  # noqa: BLE001 - the boundary of the thread
                _settle(answer, error=error)
            except BaseException as error:  # noqa: BLE001 - sys.exit(): in a process, its end
                sentence = f"The model raised {type(error).__name__} while it held this image."
                _settle(answer, error=WorkerLostError(sentence))


def _settle(answer: Future[Any], value: object = None, error: BaseException | None = None) -> None:
    """Give an answer, unless its asker was told that none will come."""
    with contextlib.suppress(InvalidStateError):
        if error:
            answer.set_exception(error)
        else:
            answer.set_result(value)
