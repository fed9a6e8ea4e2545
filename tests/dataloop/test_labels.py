"""Labels: mapped, and what becomes of those that the recipe lacks."""

from pathlib import Path

import pytest

from tests.dataloop.conftest import Serve, Tool, picture
from tests.dataloop.gate import Gate
from tests.photos import photo

ALL = ["a box", "a class", "a mask", "a point", "a polygon"]


@pytest.fixture
def server(serve: Serve) -> str:
    return serve("Patch").url


def labels_of(gate: Gate, item: str) -> list[str]:
    return sorted(each["label"] for each in gate.of(item))


def test_labels_that_the_recipe_has_are_uploaded(gate: Gate, tool: Tool, server: str) -> None:
    gate.labels = list(ALL)
    item = gate.add_item(picture())
    assert tool("--item-id", item, "--server", server).code == 0
    assert labels_of(gate, item) == ALL


def test_a_label_that_the_recipe_lacks_fails_the_item(gate: Gate, tool: Tool, server: str) -> None:
    gate.labels = ALL[:3]
    item = gate.add_item(picture())
    ended = tool("--item-id", item, "--server", server)
    assert ended.code == 1
    assert "the dataset's recipe lacks a point, a polygon; add them to it, or choose" in ended.err
    assert gate.of(item) == []


def test_skip_leaves_out_what_the_recipe_lacks(gate: Gate, tool: Tool, server: str) -> None:
    gate.labels = ALL[:3]
    item = gate.add_item(picture())
    ended = tool("--item-id", item, "--server", server, "--missing-labels", "skip")
    assert ended.code == 0
    assert "left out, for the recipe lacks them: a point, a polygon" in ended.err
    assert labels_of(gate, item) == ALL[:3]


def test_add_puts_them_into_the_recipe_once(gate: Gate, tool: Tool, server: str) -> None:
    gate.labels = ALL[:3]
    items = [gate.add_item(picture()) for _ in range(6)]
    ended = tool("--item-id", *items, "--server", server, "--missing-labels", "add")
    assert ended.code == 0, ended.err
    assert sorted(gate.labels) == ALL
    assert gate.seen["PATCH /ontologies/o/labels"] == 1
    assert all(labels_of(gate, item) == ALL for item in items)


def test_a_dry_run_adds_uploads_and_removes_nothing(gate: Gate, tool: Tool, server: str) -> None:
    item = gate.add_item(picture())
    old = gate.add_annotation(item, "cat", "Patch")
    ended = tool("--item-id", item, "--server", server, "--missing-labels", "add", "--dry-run")
    assert ended.code == 0
    table = ended.out.splitlines()
    assert table[0].split() == ["item", "name", "type", "label", "confidence", "where"]
    rows = [line.split(maxsplit=2)[2] for line in table[2:-1]]
    assert [" ".join(row.split()) for row in rows] == [
        "class a class 0.500",
        "box a box 0.600 20,12 30,18",
        "polygon a polygon 0.700 20,12 30,12 30,18 20,18",
        "mask a mask 0.800 60 pixels",
        "point a point 0.900 20,12",
    ]
    assert table[-1] == (
        f"{item} photo.jpg: would be added to the recipe:"
        " a box, a class, a mask, a point, a polygon"
    )
    assert "1 of 1 items would be annotated" in ended.err
    assert [each["id"] for each in gate.of(item)] == [old]
    assert gate.labels == []
    assert gate.uploads == []


def test_a_label_map_renames_and_leaves_out(
    gate: Gate, tool: Tool, server: str, tmp_path: Path
) -> None:
    gate.labels = ["thing", "a mask"]
    file = tmp_path / "map.json"
    file.write_text('{"a class": "thing", "a box": "thing", "a point": null, "a polygon": null}')
    item = gate.add_item(picture())
    ended = tool("--item-id", item, "--server", server, "--label-map", str(file))
    assert ended.code == 0, ended.err
    assert labels_of(gate, item) == ["a mask", "thing", "thing"]
    assert "2 left out by --label-map" in ended.err


def test_a_class_is_uploaded_once_the_surest(
    gate: Gate, serve: Serve, tool: Tool, tmp_path: Path
) -> None:
    gate.labels = ["cat"]
    file = tmp_path / "map.json"
    file.write_text('{"Egyptian cat": "cat", "tabby cat": "cat", "tiger cat": "cat"}')
    item = gate.add_item(photo("chelsea.png").read_bytes(), mimetype="image/png")
    arguments = ("--label-map", str(file), "--missing-labels", "skip")
    ended = tool("--item-id", item, "--server", serve("").url, *arguments)
    assert ended.code == 0, ended.err
    assert "2 classes left out beside surer ones of the same label" in ended.err
    (kept,) = gate.of(item)
    assert kept["metadata"]["user"]["model"]["confidence"] > 0.3
