"""Runners, and ways to ask them."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any

import pytest

from server.errors import WorkerLostError
from server.model.hosted import ImageInput, Outcome
from server.runner.process import ProcessWorker
from server.runner.runner import Runner
from server.runner.worker import Worker, WorkerConfig, run_batch
from tests import models
from tests.unit.runner.test_workers import FINE, OTHERS, picture

OBEDIENT = f"{OTHERS}:Obedient"
EXIT, HANG, RAISE, WAIT = map(picture, (models.EXIT, models.HANG, models.RAISE, models.WAIT))
SOON = 20.0

Start = Callable[..., Runner]


@pytest.fixture
def make() -> Iterator[Start]:
    """Makes runners that are ended after the test, whatever they do."""
    made: list[Runner] = []

    def make_one(
        config: WorkerConfig, workers: int = 1, kind: Callable[..., Worker] | None = None
    ) -> Runner:
        runner = Runner(lambda: (kind or partial(ProcessWorker, environment={}))(config), workers)
        made.append(runner)
        return runner

    yield make_one
    for runner in made:
        runner.shutdown(cancel_futures=True)


@pytest.fixture
def start(make: Start) -> Start:
    """Makes runners whose workers are loaded."""

    def start_one(*arguments: Any, **options: Any) -> Runner:
        runner = make(*arguments, **options)
        for loaded in runner.start():
            loaded.result(SOON)
        return runner

    return start_one


def ask(runner: Runner, *images: ImageInput) -> "Future[list[Outcome]]":
    return runner.submit(run_batch, images or [FINE])


def answered(runner: Runner) -> bool:
    return [each.error for each in ask(runner).result(SOON)] == [None]


def pid(worker: Worker) -> int:
    assert isinstance(worker, ProcessWorker)
    assert worker._process
    return worker._process.pid


def pids(runner: Runner) -> list[int]:
    return [pid(lane._worker) for lane in runner._lanes]


class Does:
    """Tells the workers' model, `Odd`, what to do from now on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __call__(self, what: str) -> None:
        self._monkeypatch.setenv("MODEL_DOES", what)

    def lose(self, runner: Runner, times: int) -> None:
        """Lose workers in a row; the model is well again afterwards."""
        self("predict leave")
        for _ in range(times):
            with pytest.raises(WorkerLostError):
                ask(runner).result(SOON)
        self("")


@pytest.fixture
def does(monkeypatch: pytest.MonkeyPatch) -> Does:
    return Does(monkeypatch)


def took(function: Callable[[], object]) -> float:
    began = time.monotonic()
    function()
    return time.monotonic() - began
