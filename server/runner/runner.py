"""The runner: an executor whose every thread owns a worker, and replaces it when it is lost."""

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, Final, TypeVar

from server.errors import PredictTimeoutError, WorkerLostError
from server.model.hosted import ModelInfo
from server.runner.worker import ModelLoadError, Worker

T = TypeVar("T")

log = logging.getLogger(__name__)

BACKOFF_SECONDS: Final = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Pause before a replacement that follows so many failed loads."""


class _Call:
    """A function to run on a worker, and where its answer goes."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.function, self.args = function, args
        self.answer: Future[Any] = Future()

    def run(self, worker: Worker) -> bool:
        """Answer the call; False if that cost the worker."""
        if not self.answer.set_running_or_notify_cancel():
            return True
        try:
            self.answer.set_result(self.function(worker, *self.args))
        except (WorkerLostError, PredictTimeoutError) as error:
            self.answer.set_exception(error)
            return False
        except Exception as error:  # noqa: BLE001 - the boundary of the thread: the caller gets it
            self.answer.set_exception(error)
        return True


class Runner(Executor):
    """Runs `function(worker, *args)` on whichever worker is free first.

    Args:
        make_worker: Makes one worker, not yet loaded.
        workers: How many there are.
    """

    def __init__(self, make_worker: Callable[[], Worker], workers: int) -> None:
        self._make_worker = make_worker
        self.workers: Final = workers
        self.alive = 0
        self.restarts = 0
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._current: dict[int, Worker] = {}
        self._threads: list[threading.Thread] = []

    def start(self) -> list[Future[ModelInfo]]:
        """Start and load every worker; one future each, failing with what `Worker.load` raised."""
        loading: list[Future[ModelInfo]] = [Future() for _ in range(self.workers)]
        for number, loaded in enumerate(loading):
            thread = threading.Thread(
                target=self._own_worker, args=(number, loaded), name=f"runner-{number}", daemon=True
            )
            self._threads.append(thread)
            thread.start()
        return loading

    def submit(  # type: ignore[override]  # the function gets a worker before its arguments
        self, function: Callable[..., T], /, *args: Any
    ) -> Future[T]:
        """Run `function(worker, *args)` on the next free worker."""
        call = _Call(function, args)
        self._calls.put(call)
        return call.answer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers: once idle, or at once with `cancel_futures`."""
        self._closing.set()
        for _ in self._threads:
            self._calls.put(None)
        if cancel_futures:
            for worker in list(self._current.values()):
                worker.kill()
        if wait:
            for thread in self._threads:
                thread.join()

    def _own_worker(self, number: int, loaded: Future[ModelInfo]) -> None:
        worker = self._current[number] = self._make_worker()
        try:
            loaded.set_result(worker.load())
        except Exception as error:  # noqa: BLE001 - the boundary of the thread: start() tells it
            worker.close()
            loaded.set_exception(error)
            return
        self.alive += 1
        while call := self._calls.get():
            if not call.run(worker):
                self.alive -= 1
                worker.close()
                if not self._replace(number):
                    return
                worker = self._current[number]
        self.alive -= 1
        worker.close()

    def _replace(self, number: int) -> bool:
        """Load a new worker, however often it takes; False when the runner closes meanwhile."""
        failures = 0
        while not self._closing.wait(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)]):
            worker = self._current[number] = self._make_worker()
            self.restarts += 1
            try:
                worker.load()
            except (ModelLoadError, WorkerLostError, PredictTimeoutError) as error:
                failures += 1
                worker.close()
                log.error("worker %d did not come back: %s", number, error)
            else:
                log.info("worker %d came back with the model loaded", number)
                self.alive += 1
                return True
        return False
