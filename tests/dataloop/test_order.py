"""What is on an item before, after and in the midst of a run: nothing is lost, nothing doubled."""

from typing import Any

import pytest

from tests.dataloop.conftest import Serve, Tool, picture
from tests.dataloop.gate import Fault, Gate

ANY_LABEL = ("--missing-labels", "upload")
UPLOAD = "POST /items/[^/]+/annotations"
QUERY = "POST /datasets/[^/]+/query annotations"


@pytest.fixture
def server(serve: Serve) -> str:
    return serve("Patch").url


def test_a_second_run_replaces_what_the_first_put_there(
    gate: Gate, tool: Tool, server: str
) -> None:
    item = gate.add_item(picture())
    for _ in range(2):
        assert tool("--item-id", item, "--server", server, *ANY_LABEL).code == 0
        assert len(gate.of(item)) == 5


def test_a_persons_and_another_models_annotations_stay(gate: Gate, tool: Tool, server: str) -> None:
    item = gate.add_item(picture())
    others = [
        gate.add_annotation(item, "cat", None),
        gate.add_annotation(item, "cat", "another"),
        gate.add_annotation(item, "cat", "Patch", updatedBy="a.person@example.com"),
    ]
    gate.add_annotation(item, "cat", "Patch")
    ended = tool("--item-id", item, "--server", server, *ANY_LABEL)
    assert ended.code == 0
    assert "1 older removed; 1 that a person has changed since stay" in ended.err
    left = {each["id"] for each in gate.of(item)}
    assert left >= set(others)
    assert len(left) == 5 + len(others)


def test_other_items_are_left_alone(gate: Gate, tool: Tool, server: str) -> None:
    item, other = gate.add_item(picture()), gate.add_item(picture())
    kept = gate.add_annotation(other, "cat", "Patch")
    tool("--item-id", item, "--server", server, *ANY_LABEL)
    assert [each["id"] for each in gate.of(other)] == [kept]


def test_the_new_is_there_before_the_old_goes(gate: Gate, tool: Tool, server: str) -> None:
    item = gate.add_item(picture())
    gate.add_annotation(item, "cat", "Patch")
    gate.faults.append(Fault(QUERY, 400, times=1))
    ended = tool("--item-id", item, "--server", server, *ANY_LABEL)
    assert len(gate.of(item)) == 6
    assert ended.code == 1
    assert "5 new annotations are uploaded, but the model's older ones are not removed" in ended.err
    assert tool("--item-id", item, "--server", server, *ANY_LABEL).code == 0
    assert len(gate.of(item)) == 5


def test_an_upload_that_is_refused_leaves_the_old(gate: Gate, tool: Tool, server: str) -> None:
    item = gate.add_item(picture())
    old = gate.add_annotation(item, "cat", "Patch")
    gate.faults.append(Fault(UPLOAD, 400, "no such label"))
    ended = tool("--item-id", item, "--server", server, *ANY_LABEL)
    assert ended.code == 1
    assert "the gate answers 400: no such label" in ended.err
    assert [each["id"] for each in gate.of(item)] == [old]


def test_an_upload_that_was_done_but_answered_500_is_not_doubled(
    gate: Gate, tool: Tool, server: str
) -> None:
    item = gate.add_item(picture())
    gate.faults.append(Fault(UPLOAD, 500, times=1, after=True))
    assert tool("--item-id", item, "--server", server, *ANY_LABEL).code == 0
    assert len(gate.uploads) == 2
    assert len(gate.of(item)) == 5


def test_over_100_annotations_go_in_chunks(gate: Gate, tool: Tool, serve: Serve) -> None:
    item = gate.add_item(picture(250, 30))
    ended = tool("--item-id", item, "--server", serve("Crowd").url, *ANY_LABEL)
    assert ended.code == 0, ended.err
    assert [len(upload) for upload in gate.uploads] == [100, 100, 50]
    assert len({each["coordinates"][0]["x"] for each in gate.of(item)}) == 250


@pytest.mark.parametrize("status", [400, 500])
def test_a_part_of_an_upload_is_taken_back(
    gate: Gate, tool: Tool, serve: Serve, status: int
) -> None:
    item = gate.add_item(picture(250, 30))
    old = gate.add_annotation(item, "cat", "Crowd")

    gate.faults.append(Fault(UPLOAD, status, "no more", skip=1))
    run = ("--item-id", item, "--server", serve("Crowd").url, "--retries", "0", *ANY_LABEL)
    ended = tool(*run)
    assert ended.code == 1
    assert f"the gate answers {status}: no more; the 100 uploaded before are removed" in ended.err
    assert [each["id"] for each in gate.of(item)] == [old]


def test_a_newer_upload_of_another_run_is_not_taken_for_old(
    gate: Gate, tool: Tool, server: str
) -> None:
    item = gate.add_item(picture())
    newer: list[str] = []

    def arrives() -> None:
        newer.append(gate.add_annotation(item, "cat", "Patch"))

    gate.faults.append(Fault(QUERY, 500, times=1, meet=arrives))
    assert tool("--item-id", item, "--server", server, *ANY_LABEL).code == 0
    assert newer[0] in {each["id"] for each in gate.of(item)}


def test_keep_puts_the_new_beside_the_old(gate: Gate, tool: Tool, server: str) -> None:
    item = gate.add_item(picture())
    for _ in range(2):
        tool("--item-id", item, "--server", server, "--existing", "keep", *ANY_LABEL)
    assert len(gate.of(item)) == 10


def test_skip_passes_over_items_that_have_the_models_annotations(
    gate: Gate, tool: Tool, server: str
) -> None:
    has, others = gate.add_item(picture()), gate.add_item(picture())
    gate.add_annotation(has, "cat", "Patch")
    gate.add_annotation(others, "cat", "another")
    run = ("--item-id", has, others, "--server", server, "--existing", "skip", *ANY_LABEL)
    ended = tool(*run)
    assert ended.code == 0
    assert f"skipped  {has} photo.jpg: it has annotations of Patch" in ended.err
    assert (len(gate.of(has)), len(gate.of(others))) == (1, 6)
    assert gate.seen["GET /items/{id}/stream"] == 1


def test_an_answer_of_nothing_removes_the_old(gate: Gate, tool: Tool, server: str) -> None:
    item = gate.add_item(picture())
    gate.add_annotation(item, "cat", "Patch")
    run = ("--item-id", item, "--server", server, "--min-confidence", "1", *ANY_LABEL)
    assert tool(*run).code == 0
    assert gate.of(item) == []


def test_however_many_old_ones_there_are_they_all_go(gate: Gate, tool: Tool, server: str) -> None:
    item = gate.add_item(picture())
    for _ in range(1001):
        gate.add_annotation(item, "cat", "Patch")
    ended = tool("--item-id", item, "--server", server, *ANY_LABEL)
    assert "5 uploaded, 1001 older removed" in ended.err
    assert len(gate.of(item)) == 5


def test_a_gate_that_tells_of_others_annotations_does_not_lose_them() -> None:
    from tools.dataloop.annotations import older
    from tools.dataloop.server import Model

    def annotation(number: int, room: str, name: str) -> dict[str, Any]:
        return {"id": str(number), "metadata": {room: {"model": {"name": name}}}}

    there = [
        annotation(1, "user", "mine"),
        annotation(2, "system", "mine"),
        annotation(3, "user", "another"),
        {"id": "4", "metadata": {"user": {}}},
        {"id": "5"},
        annotation(6, "user", "mine"),
    ]
    assert older(there, Model("mine", "1"), [{"id": "6"}]) == (["1", "2"], 0)
