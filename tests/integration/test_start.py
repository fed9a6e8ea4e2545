"""Starting: what is refused, each with one sentence and the right exit code."""

import os
import resource
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import apsw
import pytest

from tests.integration.conftest import Start
from tests.server_process import ROOT


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "server", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_second_server_on_the_same_data_directory_is_refused(start: Start) -> None:
    first = start().ready()
    second = start()
    assert second.wait() == 1
    assert f"in use by another server (process {first.process.pid})" in second.lines[-1]


def test_a_corrupt_database_is_refused_and_left_alone(start: Start, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    database = tmp_path / "data" / "predictions.db"
    database.write_bytes(b"not a database " * 1000)
    server = start()

    assert server.wait() == 1
    assert "is corrupt or not this server's database" in server.lines[-1]
    assert database.read_bytes() == b"not a database " * 1000


def test_another_programs_database_is_refused(start: Start, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with apsw.Connection(str(tmp_path / "data" / "predictions.db")) as connection:
        connection.pragma("application_id", 7)
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    assert start().wait() == 1


def test_a_model_that_can_not_be_loaded_stops_the_start_with_its_traceback(start: Start) -> None:
    server = start("--model", "tests/models.py:Broken")
    assert server.wait() == 1
    assert "RuntimeError: the weights are missing" in server.lines[-1]
    assert 'raise RuntimeError("the weights are missing")' in server.log
    assert server.log.count("Traceback") == 1


def test_a_server_that_is_stopped_while_its_model_loads_ends_well(
    start: Start, tmp_path: Path
) -> None:
    endless = "import time\nclass Endless:\n    def load(self):\n        time.sleep(600)\n"
    (tmp_path / "endless.py").write_text(endless + "    predict = list\n")
    server = start("--model", f"{tmp_path / 'endless.py'}:Endless", "--workers", "1")
    server.wait_for_line(r"\btry\b")
    assert server.stop() == 0
    assert "Traceback" not in server.log


def test_an_unknown_model_stops_the_start_with_one_line(start: Start) -> None:
    server = start("--model", "tests/models.py:Colors")
    assert server.wait() == 1
    assert "Colours" in server.lines[-1]
    assert "Traceback" not in server.log


def test_a_port_that_is_taken_stops_the_start_with_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = run("--host", "127.0.0.1", "--port", port, "--data-dir", str(tmp_path))
    assert ended.returncode == 1
    assert f"can't listen on --host 127.0.0.1 --port {port}" in ended.stderr.splitlines()[-1]


def test_the_limit_of_open_files_is_raised_and_it_is_told_if_that_is_too_little(
    start: Start,
) -> None:
    server = start("--model", "tests/models.py:Colours", "--workers", "1")
    server_limit = partial(resource.prlimit, server.process.pid, resource.RLIMIT_NOFILE)
    server_limit((300, 1000))  # it is importing
    server.ready()

    assert server_limit() == (1000, 1000)
    server.wait_for_line("open 1000 files: connections are limited to 744, not to the 2000")


def test_a_data_directory_that_can_not_be_written_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = run("--port", "0", "--data-dir", str(tmp_path / "file"))
    assert ended.returncode == 1
    assert "--data-dir" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "named"),
    [
        (["--port", "99999"], {}, "--port"),
        (["--runner", "gpu"], {}, "--runner"),
        (["--nonsense"], {}, "--nonsense"),
        (["--workers"], {}, "--workers"),
        ([], {"SERVER_PORT": "tcp://10.0.0.1:9000"}, "SERVER_PORT"),
        ([], {"SERVER_WORKERS": "0"}, "SERVER_WORKERS"),
    ],
)
def test_a_bad_setting_stops_the_start_with_one_line_that_names_it(
    arguments: list[str], environment: dict[str, str], named: str
) -> None:
    ended = run(*arguments, **environment)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert named in ended.stderr


def test_a_variable_that_is_no_setting_is_told(start: Start) -> None:
    server = start(SERVER_PROT="9000").ready()
    assert "SERVER_PROT" in server.log


@pytest.mark.parametrize("runner", ["process", "thread"])
def test_the_log_can_be_json(start: Start, runner: str) -> None:
    import json

    server = start("--log-format", "json", "--runner", runner)
    server.wait_for_line('"ready')
    assert server.stop() == 0
    lines = [json.loads(line) for line in server.lines]
    assert all({"timestamp", "level", "message"} <= set(line) for line in lines)
