"""The corpus of hostile calls against a server with API keys."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.hostile.client import Exchange, exchange, verify
from tests.hostile.corpus import auth
from tests.hostile.wire import Case, get
from tests.server_process import ServerProcess, ready_server

CASES = {case.name: case for case in auth.CASES}
SETTINGS = ("--model", "tests/hostile/model.py:Sizes", "--workers", "1", "--header-timeout", "2")


class Run(NamedTuple):
    """All the cases, sent to one server."""

    server: ServerProcess
    exchanges: dict[str, Exchange]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder: Path = tmp_path_factory.mktemp("auth")
    keys = folder / "keys"
    keys.write_text(auth.FILE)
    keys.chmod(0o600)
    settings = (*SETTINGS, "--api-key-file", str(keys))
    with ready_server(folder / "data", *settings) as server:
        yield Run(server, {name: exchange(server.url, case) for name, case in CASES.items()})


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_caller_gets_its_answer(run: Run, name: str) -> None:
    verify(CASES[name], run.exchanges[name])


@pytest.mark.parametrize("name", [case.name for case in auth.CASES if case.status == 401])
def test_who_is_not_known_is_told_how_to_be_and_nothing_else(run: Run, name: str) -> None:
    headers = run.exchanges[name].reply.headers
    assert headers["www-authenticate"] == "Bearer"
    assert "allow" not in headers


def test_each_case_is_there_once() -> None:
    assert len(CASES) == len(auth.CASES) == len({case.sent for case in auth.CASES}) >= 80


def test_no_key_is_in_the_log_or_in_a_reply(run: Run) -> None:
    replies = [str(answered) for answered in run.exchanges.values()]
    for secret in auth.SECRETS:
        assert secret not in run.server.log
        assert not any(secret in reply for reply in replies)
    assert "Traceback" not in run.server.log
    assert " ERROR " not in run.server.log


def test_only_who_may_has_left_a_result(run: Run) -> None:
    listed = get("/predictResults", f"X-API-Key: {auth.ADMIN}")
    reply = exchange(run.server.url, Case("a list", listed, 200)).reply
    assert len(json.loads(reply.body)) == 1  # of the predict key
