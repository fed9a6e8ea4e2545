"""The runner: an executor whose every thread owns a worker, and replaces it when it is lost."""

import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, Final, TypeVar

from server.errors import PredictTimeoutError, WorkerLostError
from server.model.hosted import ModelInfo
from server.runner.worker import Worker

T = TypeVar("T")

log = logging.getLogger(__name__)

LOST: Final = (WorkerLostError, PredictTimeoutError)
"""What a worker raises when it can't be used any more."""

BACKOFF_SECONDS: Final = (0.0, 0.0, 0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Pause before a replacement, by how many workers were lost in a row without an answer."""

FAILING: Final = 3
"""Workers lost in a row, without an answer, after which a lane counts as failing."""


class _Call:
    """A function to run on a worker, and where its answer goes."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.function, self.args = function, args  # Any: the caller's own
        self.answer: Future[Any] = Future()

    def run(self, worker: Worker) -> None:
        """Answer the call.

        Raises:
            WorkerLostError, PredictTimeoutError: After telling the caller: it cost the worker.
        """
        if not self.answer.set_running_or_notify_cancel():
            return
        try:
            self.answer.set_result(self.function(worker, *self.args))
        except LOST as error:
            self.answer.set_exception(error)
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of the thread: the caller gets it
            self.answer.set_exception(error)


class _Lane:
    """A thread and the worker it owns, one after the other."""

    def __init__(
        self, number: int, calls: "queue.SimpleQueue[_Call | None]", make: Callable[[], Worker]
    ) -> None:
        self._number = number
        self._calls = calls
        self._make_worker = make
        self._worker = make()
        self._closing = threading.Event()
        self.alive = False
        self.restarts = 0
        self.losses = 0
        self.last_loss = ""
        self.loaded: Future[ModelInfo] = Future()
        self.loaded.set_running_or_notify_cancel()  # a load can't be cancelled, only left alone
        self._thread = threading.Thread(target=self._main, name=f"runner-{number}", daemon=True)
        self._thread.start()

    def close(self, *, kill: bool) -> None:
        self._closing.set()
        self._calls.put(None)
        if kill:
            self._worker.kill()

    def join(self) -> None:
        self._thread.join()

    def _main(self) -> None:
        try:
            self.loaded.set_result(self._worker.load())
        except Exception as error:  # noqa: BLE001 - the boundary of the thread: start() tells it
            self.loaded.set_exception(error)
        else:
            self._serve()
        self._worker.close()

    def _serve(self) -> None:
        self.alive = True
        while call := self._calls.get():
            try:
                call.run(self._worker)
            except LOST as error:
                self._lose(error)
            else:
                self.losses = 0
            if (self._worker.worn or self.losses) and not self._replace():
                break
        self.alive = False

    def _lose(self, error: Exception) -> None:
        self.losses += 1
        self.last_loss = str(error)
        if not self._closing.is_set():
            log.warning("worker %d is lost: %s", self._number, error)

    def _replace(self) -> bool:
        """Load a new worker, however often it takes; False when the runner closes meanwhile."""
        self.alive = False
        self._worker.close()
        while not self._closing.wait(BACKOFF_SECONDS[min(self.losses, len(BACKOFF_SECONDS) - 1)]):
            self._worker = self._make_worker()
            self.restarts += 1
            if self._closing.is_set():
                self._worker.kill()  # `close` may have met the one before it
            try:
                self._worker.load()
            except Exception as error:  # noqa: BLE001 - such as a machine that can't fork just now
                self._lose(error)
                self._worker.close()
            else:
                self.alive = True
                log.info("worker %d is back, with the model loaded", self._number)
                return True
        return False


class Runner(Executor):
    """Runs `function(worker, *args)` on whichever worker is free first.

    Args:
        make_worker: Makes one worker, not yet loaded.
        workers: How many there are.
    """

    def __init__(self, make_worker: Callable[[], Worker], workers: int) -> None:
        self._make_worker = make_worker
        self.workers: Final = workers
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._lanes: list[_Lane] = []

    @property
    def alive(self) -> int:
        """How many workers have the model loaded."""
        return sum(lane.alive for lane in self._lanes)

    @property
    def restarts(self) -> int:
        """How many workers were started in place of another."""
        return sum(lane.restarts for lane in self._lanes)

    def obstacle(self) -> str | None:
        """Why no worker can be expected to answer, if so."""
        if not self._lanes or any(lane.losses < FAILING for lane in self._lanes):
            return None
        return f"Every worker is lost time and again; lately: {self._lanes[0].last_loss}"

    def start(self) -> list[Future[ModelInfo]]:
        """Start and load every worker; one future each, failing with what `Worker.load` raised."""
        self._lanes = [
            _Lane(number, self._calls, self._make_worker) for number in range(self.workers)
        ]
        return [lane.loaded for lane in self._lanes]

    def submit(  # type: ignore[override]  # the function gets a worker before its arguments
        self, function: Callable[..., T], /, *args: Any
    ) -> Future[T]:
        """Run `function(worker, *args)` on the next free worker."""
        call = _Call(function, args)
        self._calls.put(call)
        return call.answer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers: once idle, or at once with `cancel_futures`."""
        if cancel_futures:
            self._cancel_waiting()
        for lane in self._lanes:
            lane.close(kill=cancel_futures)
        if wait:
            for lane in self._lanes:
                lane.join()

    def _cancel_waiting(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                if call := self._calls.get_nowait():
                    call.answer.cancel()
