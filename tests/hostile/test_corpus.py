"""The corpus against one server: every request gets its answer, and nothing is left of any."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.hostile.client import Exchange, exchange, verify
from tests.hostile.corpus import FAMILIES
from tests.hostile.wire import Case, get, post
from tests.server_process import ServerProcess, ready_server

CLIENTS = 8
MOST_GROWTH = 20 * 2**20
SECONDS = 10.0
SAVED = b'name="save_locally"\r\n\r\ntrue'
SETTINGS = (
    *("--model", "tests/hostile/model.py:Sizes", "--workers", "1"),
    *("--body-timeout", "1", "--header-timeout", "2"),  # nothing in the corpus takes longer
)
CASES = {f"{family}: {case.name}": case for family, cases in FAMILIES.items() for case in cases}


class Holdings(NamedTuple):
    """What the server holds."""

    memory: int
    descriptors: int
    files: set[Path]


class Run(NamedTuple):
    """The whole corpus, sent to one server."""

    server: ServerProcess
    exchanges: dict[str, Exchange]
    before: Holdings
    after: Holdings


def holdings(server: ServerProcess) -> Holdings:
    backup = server.data_dir / "backup"  # of what was accepted
    files = (path for path in server.data_dir.parent.rglob("*") if path.is_file())
    descriptors = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
    outside = {file for file in files if not file.is_relative_to(backup)}
    return Holdings(server.resident(), descriptors, outside)


def answer(server: ServerProcess, sent: bytes) -> Exchange:
    return exchange(server.url, Case("a plain request", sent, 200))


def results(server: ServerProcess) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(answer(server, get("/predictResults")).reply.body)
    return found


def wait_until(true: Callable[[], bool]) -> bool:
    """Ask again and again, but not for ever."""
    end = time.monotonic() + SECONDS
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with ready_server(tmp_path_factory.mktemp("hostile") / "data", *SETTINGS) as server:
        for sent in (post(), get("/predictResults"), get("/status")):
            assert answer(server, sent).reply.status == 200
        assert answer(server, b"DELETE /deleteAll HTTP/1.1\r\nHost: x\r\n\r\n").reply.status == 200
        before = holdings(server)
        with ThreadPoolExecutor(CLIENTS) as clients:
            replies = clients.map(lambda case: exchange(server.url, case), CASES.values())
            exchanges = dict(zip(CASES, replies, strict=True))
        wait_until(lambda: all(result["status"] != "Pending" for result in results(server)))
        after = before

        def is_done() -> bool:  # perhaps not at once: a backup may be being written
            nonlocal after
            after = holdings(server)
            return after.descriptors <= before.descriptors

        wait_until(is_done)
        yield Run(server, exchanges, before, after)


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_request_gets_its_answer(run: Run, name: str) -> None:
    verify(CASES[name], run.exchanges[name])


def test_the_corpus_is_large_and_each_case_is_there_once() -> None:
    assert len(CASES) == sum(map(len, FAMILIES.values())) >= 500
    sent = [(case.sent, case.later, case.half_closed) for case in CASES.values()]
    assert len(set(sent)) == len(sent)


def test_only_what_was_accepted_is_stored(run: Run) -> None:
    replies = [run.exchanges[name].reply for name in CASES]
    accepted = [
        reply.envelope["request_id"]
        for reply in replies
        if reply.status in (200, 202) and reply.body.startswith(b'{"request_id"')
    ]
    assert sorted(result["request_id"] for result in results(run.server)) == sorted(accepted)
    assert len(accepted) > 50


def test_nothing_is_left_on_disk_but_the_images_to_be_saved(run: Run) -> None:
    saved = [name for name, case in CASES.items() if SAVED in case.sent and case.status == 200]
    left = run.after.files - run.before.files
    assert all(file.is_relative_to(run.server.data_dir / "images") for file in left)
    assert len(left) == len(saved) > 5
    assert not list(Path("/tmp").glob("hostile-*.png"))  # noqa: S108 - where a name climbed to


def test_no_descriptor_is_left_open_and_no_memory_is_kept(run: Run) -> None:
    assert run.after.descriptors <= run.before.descriptors
    assert run.after.memory - run.before.memory < MOST_GROWTH


def test_the_server_is_well_and_its_log_tells_of_no_failure(run: Run) -> None:
    assert answer(run.server, post()).reply.status == 200
    assert "Traceback" not in run.server.log
    assert " ERROR " not in run.server.log
