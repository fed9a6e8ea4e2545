"""The runner: lanes that own workers, lose them, replace them and end with them."""

import os
import resource
import signal
from pathlib import Path

import pytest

from server.errors import PredictTimeoutError, WorkerLostError
from server.model.hosted import ImageInput
from server.runner import runner as room
from server.runner.runner import FAILING
from server.runner.thread import ThreadWorker
from server.runner.worker import ModelLoadError, Worker
from tests.unit.runner.conftest import (
    EXIT,
    HANG,
    OBEDIENT,
    RAISE,
    SOON,
    WAIT,
    Does,
    Start,
    answered,
    ask,
    pids,
    took,
)
from tests.unit.runner.test_workers import ODD, OTHERS, config, gone, until


def test_every_worker_is_loaded_and_tells_of_its_model(make: Start) -> None:
    runner = make(config(f"{OTHERS}:Colours"), workers=3)
    assert runner.alive == 0
    assert [loaded.result(SOON).name for loaded in runner.start()] == ["Colours"] * 3
    until(lambda: runner.alive == 3)
    assert len(set(pids(runner))) == 3
    assert (runner.restarts, runner.obstacle()) == (0, None)


def test_a_model_that_can_not_be_loaded_is_told_by_every_worker(make: Start) -> None:
    runner = make(config(f"{OTHERS}:Broken"), workers=2)
    for loaded in runner.start():
        with pytest.raises(ModelLoadError, match="the weights are missing"):
            loaded.result(SOON)
    assert runner.alive == 0


# Running


def test_calls_run_on_all_workers_at_once(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODEL_FOLDER", str(tmp_path))
    runner = start(config(OBEDIENT), workers=2)
    waiting = ask(runner, WAIT)
    assert answered(runner)
    (tmp_path / "go").touch()
    assert waiting.result(SOON)[0].error is None


def test_what_a_call_raises_reaches_its_caller_and_costs_no_worker(start: Start) -> None:
    runner = start(config(OBEDIENT))
    worker = pids(runner)

    def fail(_: Worker) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        runner.submit(fail).result(SOON)
    assert ask(runner, RAISE).result(SOON)[0].error == "model_error"
    assert answered(runner)
    assert (runner.restarts, pids(runner)) == (0, worker)


def test_a_call_that_is_cancelled_before_it_starts_never_runs(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODEL_FOLDER", str(tmp_path))
    runner = start(config(OBEDIENT))
    waiting, unwanted = ask(runner, WAIT), ask(runner, EXIT)
    assert unwanted.cancel()
    (tmp_path / "go").touch()
    assert waiting.result(SOON)[0].error is None
    assert answered(runner)
    assert runner.restarts == 0


# Losing workers


@pytest.mark.parametrize(
    ("image", "error"), [(EXIT, WorkerLostError), (HANG, PredictTimeoutError)], ids=["exit", "hang"]
)
def test_a_lost_worker_is_replaced_and_the_next_call_is_answered(
    start: Start, image: ImageInput, error: type[Exception]
) -> None:
    runner = start(config(OBEDIENT, predict_timeout=1))
    (before,) = pids(runner)
    with pytest.raises(error):
        ask(runner, image).result(SOON)
    assert answered(runner)
    assert (runner.alive, runner.restarts, runner.obstacle()) == (1, 1, None)
    assert pids(runner) != [before]
    assert gone(before)


def test_a_lost_worker_costs_the_others_nothing(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODEL_FOLDER", str(tmp_path))
    runner = start(config(OBEDIENT), workers=2)
    waiting = ask(runner, WAIT)
    with pytest.raises(WorkerLostError):
        ask(runner, EXIT).result(SOON)
    (tmp_path / "go").touch()
    assert waiting.result(SOON)[0].error is None
    until(lambda: runner.restarts == 1)


def test_a_thread_that_hangs_or_whose_model_leaves_is_replaced(start: Start, does: Does) -> None:
    runner = start(config(ODD, predict_timeout=0.3), kind=ThreadWorker)
    does("predict hang")
    with pytest.raises(PredictTimeoutError):
        ask(runner).result(SOON)
    does.lose(runner, 1)
    assert answered(runner)
    assert runner.restarts == 2


def test_a_worn_worker_is_replaced_by_a_fresh_one(start: Start) -> None:
    runner = start(config(OBEDIENT, recycle_after=2))
    first = pids(runner)
    assert answered(runner)
    assert pids(runner) == first
    assert answered(runner)
    assert answered(runner)
    assert pids(runner) != first
    assert (runner.restarts, runner.obstacle()) == (1, None)
    assert gone(*first)


# Losing them again and again


def test_an_obstacle_is_told_once_every_worker_is_lost_again_and_again(
    start: Start, does: Does
) -> None:
    runner = start(config(ODD), kind=ThreadWorker)
    does.lose(runner, FAILING - 1)
    assert answered(runner)
    does.lose(runner, FAILING - 1)
    assert runner.obstacle() is None
    does.lose(runner, 1)
    until(lambda: bool(runner.obstacle()))
    assert "lost time and again" in (runner.obstacle() or "")
    assert "SystemExit(5)" in (runner.obstacle() or "")
    assert answered(runner)
    until(lambda: not runner.obstacle())


def test_it_is_no_obstacle_that_one_worker_of_two_is_lost(start: Start, does: Does) -> None:
    runner = start(config(ODD), workers=2, kind=ThreadWorker)
    does("predict hang")
    hanging = ask(runner)
    until(hanging.running)
    does.lose(runner, FAILING)
    until(lambda: runner.restarts == FAILING)
    assert runner.obstacle() is None


def test_replacements_come_slower_the_more_are_lost(
    start: Start, does: Does, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "BACKOFF_SECONDS", (0.0, 0.0, 0.2, 0.4))
    runner = start(config(ODD), kind=ThreadWorker)
    assert [took(lambda: does.lose(runner, 1)) >= least for least in (0.0, 0.0, 0.2)] == [True] * 3
    assert took(lambda: does.lose(runner, 1)) >= 0.4
    assert took(lambda: answered(runner)) >= 0.4  # there is a longest pause
    assert took(lambda: answered(runner)) < 0.4


def test_a_model_that_can_not_be_loaded_again_is_tried_until_it_can(
    start: Start, does: Does, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "BACKOFF_SECONDS", (0.05,))
    runner = start(config(ODD))
    does("load crash")
    os.kill(pids(runner)[0], signal.SIGKILL)
    with pytest.raises(WorkerLostError):
        ask(runner).result(SOON)
    until(lambda: "by signal 11 while it loaded" in (runner.obstacle() or ""))
    assert runner.alive == 0
    does("")
    assert answered(runner)
    assert (runner.alive, runner.obstacle()) == (1, None)


def test_a_machine_that_can_start_no_process_for_a_while_is_tried_again(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(room, "BACKOFF_SECONDS", (0.05,))
    runner = start(config(ODD))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        os.kill(pids(runner)[0], signal.SIGKILL)
        with pytest.raises(WorkerLostError):
            ask(runner).result(SOON)
        until(lambda: "Too many open files" in caplog.text)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert answered(runner)
