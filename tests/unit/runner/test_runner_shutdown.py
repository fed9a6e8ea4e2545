"""The end of a runner: at leisure, or at once."""

import os
import signal
import threading
from concurrent.futures import CancelledError

import pytest

from server.errors import WorkerLostError
from server.runner import runner as room
from server.runner.process import ProcessWorker
from server.runner.runner import Runner
from server.runner.thread import ThreadWorker
from server.runner.worker import ModelLoadError, Worker
from tests.unit.runner.conftest import (
    HANG,
    OBEDIENT,
    SOON,
    Does,
    Start,
    ask,
    pid,
    pids,
    took,
)
from tests.unit.runner.test_workers import ODD, config, gone, until


def test_a_shutdown_answers_what_waits_and_ends_the_workers(start: Start) -> None:
    runner = start(config(OBEDIENT), workers=2)
    processes = pids(runner)
    calls = [ask(runner) for _ in range(10)]
    runner.shutdown()
    assert [call.result(0)[0].error for call in calls] == [None] * 10
    assert all(map(gone, processes))
    assert runner.alive == 0


def test_a_shutdown_that_cancels_ends_what_hangs_and_what_waits(start: Start) -> None:
    runner = start(config(OBEDIENT))
    processes = pids(runner)
    hanging = ask(runner, HANG)
    until(hanging.running)
    waiting = [ask(runner) for _ in range(3)]
    runner.shutdown(cancel_futures=True)
    with pytest.raises(WorkerLostError):
        hanging.result(0)
    for call in waiting:
        with pytest.raises(CancelledError):
            call.result(0)
    assert all(map(gone, processes))


def test_a_shutdown_that_cancels_does_not_wait_for_a_thread_that_hangs(
    start: Start, does: Does
) -> None:
    runner = start(config(ODD), kind=ThreadWorker)
    does("predict hang")
    hanging = ask(runner)
    until(hanging.running)
    runner.shutdown(cancel_futures=True)
    with pytest.raises(WorkerLostError):
        hanging.result(0)


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_a_shutdown_that_cancels_does_not_wait_for_a_load(
    make: Start, does: Does, kind: str
) -> None:
    does("load hang")
    runner = make(config(ODD), workers=2, kind=ThreadWorker if kind == "thread" else None)
    loads = runner.start()
    assert took(lambda: runner.shutdown(cancel_futures=True)) < 10
    assert [type(load.exception(0)) for load in loads] == [ModelLoadError] * 2


def test_a_shutdown_does_not_wait_for_the_next_try(
    start: Start, does: Does, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "BACKOFF_SECONDS", (3600.0,))
    runner = start(config(ODD), kind=ThreadWorker)
    does.lose(runner, 1)
    until(lambda: runner.alive == 0)
    assert took(lambda: runner.shutdown(cancel_futures=True)) < 10


def test_a_shutdown_that_meets_a_replacement_does_not_wait_for_its_load(does: Does) -> None:
    made = []

    def make_worker() -> Worker:
        made.append(ProcessWorker(config(ODD), {}))
        if len(made) == 2:  # in place of a lost one: the runner closes at this very moment
            does("load hang")
            runner.shutdown(wait=False, cancel_futures=True)
        return made[-1]

    runner = Runner(make_worker, 1)
    runner.start()[0].result(SOON)
    os.kill(pid(made[0]), signal.SIGKILL)
    with pytest.raises(WorkerLostError):
        ask(runner).result(SOON)
    until(lambda: len(made) == 2)
    ended = threading.Thread(target=runner.shutdown)
    ended.start()
    ended.join(10)
    hangs = ended.is_alive()
    for worker in made:
        worker.kill()
    ended.join()
    assert not hangs
