"""A dataset run: complete, the same again, and again after it was stopped or killed."""

import json
import os
import pty
import shlex
import signal
import subprocess
import termios
import threading
from collections import Counter

import pytest

from tests.dataloop.conftest import COMMAND, Ended, Serve, Tool, go_on, picture, start_tool
from tests.dataloop.gate import DATASET, Fault, Gate

ANY_LABEL = ("--missing-labels", "upload")
UPLOAD = "POST /items/[^/]+/annotations"
ITEMS = 500
PHOTO = picture()


@pytest.fixture
def server(serve: Serve) -> str:
    return serve("Patch").url


def fill(gate: Gate, items: int) -> None:
    for number in range(items):
        gate.add_item(PHOTO, f"{'even' if number % 2 == 0 else 'odd'}/{number}.png")


def counts(gate: Gate) -> Counter[int]:
    """How many items have how many annotations."""
    return Counter(len(gate.of(item)) for item in gate.items)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_500_items_run_twice_have_the_same_annotations(
    gate: Gate, tool: Tool, server: str, mode: str
) -> None:
    fill(gate, ITEMS)
    for removed in (0, 5 * ITEMS):
        ended = tool("--dataset-id", DATASET, "--server", server, "--mode", mode, *ANY_LABEL)
        assert ended.code == 0, ended.err
        assert "500 of 500 items annotated in" in ended.err
        assert f"2500 uploaded, {removed} older removed" in ended.err
        assert counts(gate) == {5: ITEMS}


def test_a_run_that_is_killed_half_way_is_made_good_by_the_next(
    gate: Gate, tool: Tool, server: str
) -> None:
    fill(gate, ITEMS)
    half = threading.Event()
    gate.faults.append(Fault(UPLOAD, skip=ITEMS // 2, times=1, meet=half.set, after=True))
    process = start_tool(gate, "--dataset-id", DATASET, "--server", server, *ANY_LABEL)
    assert half.wait(60)
    process.kill()
    process.communicate()
    assert 0 < counts(gate)[0] < ITEMS
    ended = tool("--dataset-id", DATASET, "--server", server, *ANY_LABEL)
    assert ended.code == 0, ended.err
    assert counts(gate) == {5: ITEMS}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_finishes_what_is_in_hand_and_says_how_to_go_on(
    gate: Gate, server: str, number: signal.Signals
) -> None:
    fill(gate, 250)
    other = gate.add_item(PHOTO, mimetype="image/png")
    target = ("--dataset-id", DATASET, "--filter", '{"metadata.system.mimetype": "image/jpeg"}')
    process = start_tool(gate, *target, "--server", server, "--workers", "2", *ANY_LABEL)
    gate.faults.append(
        Fault(UPLOAD, skip=20, times=1, meet=lambda: process.send_signal(number), after=True)
    )
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert "finishing the items in hand; Ctrl-C again stops at once" in err
    assert "Traceback" not in err

    uploads = len(gate.uploads)
    done = {item for item in gate.items if len(gate.of(item)) == 5}
    assert 20 <= len(done) < 30
    assert gate.seen["POST /datasets/{id}/query items"] == 2  # the count and the first page
    assert f"To go on: {shlex.join(COMMAND)} --gate-url" in err
    ended = go_on(gate, Ended(1, out, err))
    assert ended.code == 0, ended.err
    assert counts(gate) == {5: 250, 0: 1}
    assert gate.of(other) == []
    assert len(gate.uploads) - uploads <= 250 - len(done) + 4  # what was in hand, at most, twice


def test_a_second_ctrl_c_stops_at_once(gate: Gate, server: str) -> None:
    fill(gate, 20)
    held = threading.Event()
    process = start_tool(gate, "--dataset-id", DATASET, "--server", server, *ANY_LABEL)
    gate.faults.append(Fault(UPLOAD, meet=held.set, hang=True))
    assert held.wait(60)
    process.send_signal(signal.SIGINT)
    assert process.stderr
    assert "finishing the items in hand" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err == "dataloop_test.py: stopped at once; run the same command again\n"


def test_each_item_is_one_line_of_json(gate: Gate, tool: Tool, server: str) -> None:
    fill(gate, 3)
    gate.add_item(b"no image", "text.txt")
    ended = tool("--dataset-id", DATASET, "--server", server, "--json", *ANY_LABEL)
    assert ended.code == 1
    lines = [json.loads(line) for line in ended.out.splitlines()]
    assert Counter(line["status"] for line in lines) == {"done": 3, "failed": 1}
    (failed,) = [line for line in lines if line["status"] == "failed"]
    assert (failed["name"], failed["uploaded"]) == ("text.txt", 0)
    assert "no image this server takes" in failed["why"]
    done = next(line for line in lines if line["status"] == "done")
    assert (done["uploaded"], done["removed"]) == (5, 0)
    assert done["annotations"][1] == {
        "type": "box",
        "label": "a box",
        "confidence": 0.6,
        "points": [[20, 12], [30, 18]],
    }


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (("--folder", "odd/"), ["1.png", "3.png", "5.png"]),
        (("--limit", "2"), ["0.png", "1.png"]),
        (("--filter", '{"name": {"$in": ["2.png", "4.png"]}}'), ["2.png", "4.png"]),
        (("--unannotated",), ["1.png", "2.png", "3.png", "4.png", "5.png"]),
        (("--folder", "even", "--limit", "1", "--unannotated"), ["2.png"]),
    ],
)
def test_only_the_items_asked_for_are_annotated(
    gate: Gate, tool: Tool, server: str, flags: tuple[str, ...], names: list[str]
) -> None:
    fill(gate, 6)
    gate.add_annotation(next(iter(gate.items)), "cat", None)
    ended = tool("--dataset-id", DATASET, "--server", server, "--json", *flags, *ANY_LABEL)
    assert ended.code == 0, ended.err
    assert sorted(json.loads(line)["name"] for line in ended.out.splitlines()) == names


def test_a_terminal_gets_a_bar_with_rate_and_failures(gate: Gate, server: str) -> None:
    fill(gate, 30)
    gate.add_item(b"no image", "text.txt")
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    target = ["--gate-url", gate.url, "--dataset-id", DATASET, "--server", server, *ANY_LABEL]
    process = subprocess.Popen(
        [*COMMAND, *target],
        env=os.environ | {"DTLPY_API_KEY": gate.token},
        stderr=theirs,
    )
    os.close(theirs)
    drawn = b""
    while True:
        try:
            drawn += os.read(ours, 4096)
        except OSError:  # its end is closed
            break
    os.close(ours)
    assert process.wait() == 1
    assert b"| 31/31 [" in drawn
    assert b"item/s" in drawn
    assert b"failed=1" in drawn


def test_a_full_queue_of_the_servers_is_waited_for(gate: Gate, tool: Tool, serve: Serve) -> None:
    fill(gate, 30)
    server = serve("Patch", "--max-queue", "1", "--max-batch-size", "1")
    ended = tool("--dataset-id", DATASET, "--server", server.url, *ANY_LABEL)
    assert ended.code == 0, ended.err
    assert counts(gate) == {5: 30}
