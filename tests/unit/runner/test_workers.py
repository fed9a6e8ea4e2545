"""The workers, as real processes and threads around models that behave and misbehave."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import orjson
import pytest
from PIL import Image

from server.errors import PredictTimeoutError, WorkerLostError
from server.model.header import ImageLimits
from server.model.hosted import ImageInput, ModelInfo
from server.runner import process
from server.runner.process import ProcessWorker
from server.runner.thread import ThreadWorker
from server.runner.worker import ModelLoadError, WorkerConfig
from server.settings import BadSettingError, load
from tests import models
from tests.server_process import ROOT

ODD = f"{Path(__file__).parent}/__init__.py:Odd"
OTHERS = ROOT / "tests" / "models.py"
PLENTY = 30.0
SHORT = 0.3

Worker = ProcessWorker | ThreadWorker
Make = Callable[..., Worker]


def config(
    model: str = ODD,
    predict_timeout: float = PLENTY,
    load_timeout: float = PLENTY,
    recycle_after: int = 0,
) -> WorkerConfig:
    limits = ImageLimits(("PNG",), 100_000_000)
    return WorkerConfig(model, limits, predict_timeout, load_timeout, recycle_after, "text")


def picture(colour: tuple[int, int, int], size: tuple[int, int] = (4, 4)) -> ImageInput:
    file = BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG", compress_level=0)
    return ImageInput(file.getvalue(), "a.png")


FINE = picture(models.FINE)


@pytest.fixture(params=["process", "thread"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes workers that are ended after the test, whatever they do."""
    made: list[Worker] = []

    def make_one(kind: str, config: WorkerConfig, does: str = "") -> Worker:
        monkeypatch.setenv("MODEL_DOES", does)
        worker = ThreadWorker(config) if kind == "thread" else ProcessWorker(config, {})
        made.append(worker)
        return worker

    yield make_one
    for worker in made:
        worker.kill()
        worker.close()


def child(worker: Worker) -> "subprocess.Popen[bytes]":
    assert isinstance(worker, ProcessWorker)
    assert worker._process
    return worker._process


def gone(pid: int) -> bool:
    """Whether a process has ended; one that is a zombie has."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.005)


# Both kinds


def test_a_worker_tells_of_its_model_and_answers_in_order(make: Make, kind: str) -> None:
    worker = make(kind, config(f"{OTHERS}:Colours"))
    assert worker.load() == ModelInfo("Colours", "1")
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    outcomes = worker.run([picture(colour) for colour in colours])
    responses = [orjson.loads(outcome.response or b"") for outcome in outcomes]
    assert [response["colours"]["top left"] for response in responses] == [
        [*map(float, colour)] for colour in colours
    ]


def test_a_model_that_can_not_be_loaded_is_told_with_its_traceback(make: Make, kind: str) -> None:
    with pytest.raises(ModelLoadError, match="RuntimeError: the weights are missing") as raised:
        make(kind, config(f"{OTHERS}:Broken")).load()
    assert 'raise RuntimeError("the weights are missing")' in raised.value.details
    assert "models.py" in raised.value.details


def test_a_model_that_is_not_there_is_told_without_a_traceback(make: Make, kind: str) -> None:
    with pytest.raises(ModelLoadError, match="did you mean Colours") as raised:
        make(kind, config(f"{OTHERS}:Colors")).load()
    assert raised.value.details == ""


@pytest.mark.parametrize("does", ["load hang", "load leave"])
def test_a_load_that_hangs_or_leaves_is_a_model_that_can_not_be_loaded(
    make: Make, kind: str, does: str
) -> None:
    timeout = 0.5 if does == "load hang" else PLENTY
    with pytest.raises(ModelLoadError, match=r"did not load within 0.5 s|ended|SystemExit") as told:
        make(kind, config(load_timeout=timeout), does).load()
    assert "image" not in str(told.value)


def test_a_model_that_raises_answers_and_goes_on(make: Make, kind: str) -> None:
    worker = make(kind, config(f"{OTHERS}:Obedient"))
    worker.load()
    bad, good = worker.run([picture(models.RAISE), FINE])
    assert (bad.error, good.error) == ("model_error", None)
    assert "no such thing" in (bad.sentence or "")
    assert worker.run([FINE])[0].error is None


def test_a_run_that_takes_too_long_is_given_up(make: Make, kind: str) -> None:
    worker = make(kind, config(predict_timeout=SHORT), "predict hang")
    worker.load()
    began = time.monotonic()
    with pytest.raises(PredictTimeoutError, match=r"did not answer within 0.3 s"):
        worker.run([FINE])
    assert SHORT <= time.monotonic() - began < 10


def test_a_model_that_leaves_costs_the_worker(make: Make, kind: str) -> None:
    worker = make(kind, config(), "predict leave")
    worker.load()
    with pytest.raises(WorkerLostError, match=r"exit code 5|SystemExit"):
        worker.run([FINE])


def test_a_worker_is_worn_after_its_share_of_images(make: Make, kind: str) -> None:
    worker = make(kind, config(recycle_after=3))
    worker.load()
    assert not worker.worn
    worker.run([FINE, FINE])
    assert not worker.worn
    worker.run([FINE])
    assert worker.worn


def test_a_worker_without_a_share_is_never_worn(make: Make, kind: str) -> None:
    worker = make(kind, config())
    worker.load()
    worker.run([FINE] * 5)
    assert not worker.worn


def test_a_kill_from_another_thread_ends_a_run_that_hangs(make: Make, kind: str) -> None:
    worker = make(kind, config(), "predict hang")
    worker.load()
    threading.Timer(0.05, worker.kill).start()
    with pytest.raises(WorkerLostError):
        worker.run([FINE])


def test_a_kill_from_another_thread_ends_a_load_that_hangs(make: Make, kind: str) -> None:
    worker = make(kind, config(), "load hang")
    threading.Timer(0.05, worker.kill).start()
    with pytest.raises(ModelLoadError):
        worker.load()


def test_a_kill_before_the_load_is_not_forgotten(make: Make, kind: str) -> None:
    worker = make(kind, config(), "load hang")
    worker.kill()
    with pytest.raises(ModelLoadError, match=r"by signal 9|stopped its worker"):
        worker.load()


@pytest.mark.parametrize("name", ["predict_timeout", "load_timeout"])
def test_the_longest_timeout_that_is_accepted_works(make: Make, kind: str, name: str) -> None:
    flag = "--" + name.replace("_", "-")
    with pytest.raises(BadSettingError, match=f"{flag}: .*less than or equal to 1000000"):
        load([flag, "1000001"])
    accepted = load([flag, "1000000"])
    timeouts = {name: getattr(accepted, name)}
    worker = make(kind, config(**timeouts))
    worker.load()
    assert worker.run([FINE])[0].error is None


# Processes


def test_a_crash_is_told_with_its_signal(make: Make) -> None:
    worker = make("process", config(), "predict crash")
    worker.load()
    with pytest.raises(WorkerLostError, match="by signal 11 while it held this image"):
        worker.run([FINE])
    assert child(worker).returncode == -signal.SIGSEGV


def test_a_crash_in_the_load_is_told_with_its_signal(make: Make) -> None:
    with pytest.raises(ModelLoadError, match="by signal 11 while it loaded the model"):
        make("process", config(), "load crash").load()


def test_what_a_model_prints_does_not_break_the_pipe(
    make: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    worker = make("process", config(), "predict print")
    worker.load()
    for _ in range(2):
        assert worker.run([FINE])[0].error is None
    assert capfd.readouterr().err.count("printed by the model\nwritten by the model\n") == 2


def test_a_model_that_closes_every_file_costs_the_worker(make: Make) -> None:
    worker = make("process", config(), "predict close_everything")
    worker.load()
    with pytest.raises(WorkerLostError):
        worker.run([FINE])


def test_a_model_that_starts_a_process_answers_and_can_be_ended(make: Make) -> None:
    worker = make("process", config(), "predict start_a_process")
    worker.load()
    for _ in range(2):
        assert worker.run([FINE])[0].error is None
    children = Path(f"/proc/{child(worker).pid}/task/{child(worker).pid}/children").read_text()
    worker.close()
    assert child(worker).returncode == 0
    for pid in map(int, children.split()):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("size", [(4, 4), (2000, 2000)], ids=["small", "larger than the socket"])
def test_a_stopped_process_is_given_up_and_killed(make: Make, size: tuple[int, int]) -> None:
    worker = make("process", config(predict_timeout=SHORT))
    worker.load()
    os.kill(child(worker).pid, signal.SIGSTOP)
    watchdog = threading.Timer(10, worker.kill)  # or a server that waits for ever would
    watchdog.start()
    began = time.monotonic()
    with pytest.raises(PredictTimeoutError):
        worker.run([picture(models.FINE, size)])
    watchdog.cancel()
    assert time.monotonic() - began < 5
    child(worker).wait(5)


def test_a_process_that_stops_in_the_middle_of_its_answer_is_given_up(make: Make) -> None:
    worker = make(
        "process", config(predict_timeout=0.5), "predict stop_in_the_middle_of_its_answer"
    )
    worker.load()
    with pytest.raises(PredictTimeoutError):
        worker.run([FINE])
    child(worker).wait(5)


def test_a_large_image_and_a_long_answer_cross_the_pipe(make: Make) -> None:
    worker = make("process", config(f"{OTHERS}:Colours"))
    worker.load()
    outcomes = worker.run([picture((1, 2, 3), (3000, 2000))] * 2)
    assert [orjson.loads(each.response or b"")["size"] for each in outcomes] == [[3000, 2000]] * 2


def test_a_process_leaves_signals_to_the_server(make: Make) -> None:
    worker = make("process", config())
    worker.load()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(child(worker).pid, number)
    assert worker.run([FINE])[0].error is None


def test_a_closed_process_ends_by_itself_and_leaves_nothing(make: Make) -> None:
    before = set(Path("/proc/self/fd").iterdir())
    worker = make("process", config())
    worker.load()
    worker.close()
    assert child(worker).returncode == 0
    assert len(list(Path("/proc/self/fd").iterdir())) == len(before)


def test_a_process_that_does_not_end_is_killed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "END_SECONDS", 0.1)
    worker = make("process", config())
    worker.load()
    os.kill(child(worker).pid, signal.SIGSTOP)
    worker.close()
    assert child(worker).returncode == -signal.SIGKILL


def test_the_environment_of_a_process_is_the_servers_and_what_is_added(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODEL_DOES", "load show_its_threads")
    worker = ProcessWorker(config(), {"OMP_NUM_THREADS": "7"})
    worker.load()
    worker.close()
    assert "threads: 7" in capfd.readouterr().err


def test_a_process_that_was_never_started_can_not_run() -> None:
    worker = ProcessWorker(config(), {})
    with pytest.raises(WorkerLostError):
        worker.run([FINE])
    worker.kill()
    worker.close()
