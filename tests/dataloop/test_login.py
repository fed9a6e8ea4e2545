"""The login: which credentials are taken, and what is said when there are none."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.dataloop.conftest import COMMAND, Ended, Serve, Tool, picture
from tests.dataloop.gate import Gate, token

ANY_LABEL = ("--missing-labels", "upload")


def run_with(home: Path, gate: Gate, server: str, item: str, **environment: str) -> Ended:
    """The tool with a home of dtlpy's and these variables only."""
    target = ("--gate-url", gate.url, "--item-id", item, "--server", server, *ANY_LABEL)
    bare = {name: value for name, value in os.environ.items() if not name.startswith("DTLPY_")}
    variables = bare | {"DATALOOP_PATH": str(home)} | environment
    ended = subprocess.run(
        [*COMMAND, *target], env=variables, capture_output=True, text=True, check=False
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def test_without_a_login_one_line_says_how_to(gate: Gate, serve: Serve, tmp_path: Path) -> None:
    ended = run_with(tmp_path / "home", gate, serve("Patch").url, "x")
    assert ended.code == 2
    assert ended.err == (
        "dataloop_test.py: no login at Dataloop: set DTLPY_API_KEY, or DTLPY_M2M_EMAIL and"
        ' DTLPY_M2M_PASSWORD, or store a session with "dlp login"\n'
    )


def test_the_stored_session_is_used_and_left_as_it_is(
    gate: Gate, serve: Serve, tmp_path: Path
) -> None:
    item = gate.add_item(picture())
    address = f"{gate.url}/api/v1"
    stored = {"alias": "mine", "gate_url": gate.url, "token": gate.token, "verify_ssl": True}
    cookie = tmp_path / "cookie.json"
    cookie.write_text(json.dumps({"url": address, "login_parameters": {address: stored}}))
    before = cookie.read_bytes()
    ended = run_with(tmp_path, gate, serve("Patch").url, item)
    assert ended.code == 0, ended.err
    assert len(gate.of(item)) == 5
    assert cookie.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["cookie.json"]


def test_a_machine_logs_in_with_email_and_password(
    gate: Gate, serve: Serve, tmp_path: Path
) -> None:
    item = gate.add_item(picture())
    machine = {"DTLPY_M2M_EMAIL": "m@example.com", "DTLPY_M2M_PASSWORD": "right"}
    ended = run_with(tmp_path, gate, serve("Patch").url, item, **machine)
    assert ended.code == 0, ended.err
    ended = run_with(
        tmp_path, gate, serve("Patch").url, item, **machine | {"DTLPY_M2M_PASSWORD": "wrong"}
    )
    assert (ended.code, ended.err) == (
        2,
        "dataloop_test.py: the gate does not take DTLPY_M2M_EMAIL and DTLPY_M2M_PASSWORD\n",
    )


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        (token(seconds=-5), "DTLPY_API_KEY is expired or no token of Dataloop's"),
        ("nonsense", "DTLPY_API_KEY is expired or no token of Dataloop's"),
        (token("other@example.com"), "the gate answers 401: jwt expired"),
    ],
)
def test_a_key_that_is_not_taken_is_told(serve: Serve, tool: Tool, key: str, sentence: str) -> None:
    ended = tool("--item-id", "x", "--server", serve("Patch").url, key=key)
    assert ended.code == 2
    assert sentence in ended.err


def test_an_environment_that_is_not_known_is_told_with_those_that_are(
    gate: Gate, serve: Serve, tmp_path: Path
) -> None:
    command = [*COMMAND, "--item-id", "x", "--server", serve("Patch").url, "--env", "mars"]
    variables = os.environ | {"DATALOOP_PATH": str(tmp_path), "DTLPY_API_KEY": gate.token}
    ended = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("dataloop_test.py: --env: there is no mars; known: ")
    assert " prod, " in ended.stderr


def test_a_gate_that_is_not_there_is_told(serve: Serve, tool: Tool) -> None:
    ended = tool(
        "--item-id", "x", "--server", serve("Patch").url, "--gate-url", "http://127.0.0.1:9"
    )
    assert ended.code == 2
    assert ended.err == "dataloop_test.py: the gate can't be reached: connection refused\n"
