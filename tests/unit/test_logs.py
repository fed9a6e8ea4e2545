import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from server import logs

Capture = pytest.CaptureFixture[str]
each_format = pytest.mark.parametrize("log_format", ["text", "json"])


@contextmanager
def configured(*formats: logs.LogFormat) -> Iterator[None]:
    """Logging configured as in a process of its own; afterwards all is as it was."""
    root, asyncio_log = logging.getLogger(), logging.getLogger("asyncio")
    handlers, level, asyncio_level = root.handlers[:], root.level, asyncio_log.level
    root.handlers.clear()
    for log_format in formats:
        logs.configure(log_format)
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    asyncio_log.setLevel(asyncio_level)


def log_an_error() -> None:
    try:
        (0).to_bytes(-1)
    except ValueError:
        logging.getLogger("server").exception("writing %s failed", "a.jpg")


def test_a_person_reads_time_level_and_message(capsys: Capture) -> None:
    with configured("text"):
        logging.getLogger("server").info("ready    %s", "cats")
        logging.getLogger("server.store").warning("almost full")
    output = capsys.readouterr()
    first, second = output.err.splitlines()
    assert datetime.strptime(first[:8], "%H:%M:%S").astimezone()
    assert first[8:] == " INFO    ready    cats"
    assert second[8:] == " WARNING almost full"
    assert output.out == ""


def test_a_machine_reads_one_json_object_a_line(capsys: Capture) -> None:
    before = datetime.now(UTC)
    with configured("json"):
        logging.getLogger("server.access").info("GET %s", "/status\nß", extra={"status": 200})
        log_an_error()
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert abs(datetime.fromisoformat(first.pop("timestamp")) - before) < timedelta(seconds=60)
    assert first == {
        "level": "INFO",
        "name": "server.access",
        "message": "GET /status\nß",
        "status": 200,
    }
    assert (second["level"], second["message"]) == ("ERROR", "writing a.jpg failed")
    assert second["exc_info"].startswith("Traceback")


@each_format
def test_a_traceback_is_kept(capsys: Capture, log_format: logs.LogFormat) -> None:
    with configured(log_format):
        log_an_error()
    assert "test_logs.py" in capsys.readouterr().err


@each_format
def test_details_for_developers_are_left_out(capsys: Capture, log_format: logs.LogFormat) -> None:
    with configured(log_format):
        logging.getLogger("server").debug("detail")
        logging.getLogger("asyncio").info("poll took 1 s")
        assert capsys.readouterr().err == ""
        logging.getLogger("asyncio").error("a task was lost")
        assert capsys.readouterr().err.count("\n") == 1


def test_a_warning_of_a_library_is_a_log_line_too(capsys: Capture) -> None:
    with warnings.catch_warnings(), configured("json"):
        warnings.simplefilter("always")
        warnings.warn("an old image", UserWarning, stacklevel=1)
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["name"]) == ("WARNING", "py.warnings")
    assert "an old image" in line["message"]


def test_configuring_again_replaces_the_format_and_doubles_no_line(capsys: Capture) -> None:
    with configured("text", "json"):
        logging.getLogger("server").info("once")
    assert json.loads(capsys.readouterr().err)["message"] == "once"
