"""Findings: read, checked and clamped."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.photos import upright, variants
from tools.dataloop.errors import ItemError
from tools.dataloop.findings import Finding, Frame, read

FRAME = Frame(8, 6)
BOX = {"type": "box", "label": "a", "confidence": 0.5, "left": 1, "top": 2, "right": 3, "bottom": 4}
SQUARE = {"type": "polygon", "label": "a", "points": [[1, 1], [3, 1], [3, 3], [1, 3]]}
POINT = {"type": "point", "label": "a", "x": 1, "y": 2}


def found(*annotations: Any) -> list[Finding]:
    return read({"annotations": list(annotations)}, FRAME)[0]


def refusal(annotation: Any) -> str:
    with pytest.raises(ItemError) as caught:
        found(annotation)
    return str(caught.value)


def mask(counts: Any, size: Any = None) -> dict[str, Any]:
    return {"type": "mask", "label": "a", "mask": {"size": size or [6, 8], "counts": counts}}


def test_a_bare_label_is_a_class() -> None:
    assert read({"label": "cat", "confidence": 0.5}, FRAME)[0] == [Finding("class", "cat", 0.5)]
    assert read({"label": "cat"}, FRAME)[0] == [Finding("class", "cat", 1.0)]


def test_nothing_found_is_no_error() -> None:
    response: dict[str, Any] = {"label": None, "annotations": []}
    assert read(response, FRAME) == ([], [])


def test_a_response_that_tells_nothing_is_one() -> None:
    with pytest.raises(ItemError, match="neither annotations nor a label"):
        read({"image": "x"}, FRAME)


def test_what_sticks_out_is_clamped_to_the_image() -> None:
    box, polygon, point = found(
        BOX | {"left": -3, "top": -1e9, "right": 99, "bottom": 5.5},
        SQUARE | {"points": [[-1, -1], [9, 0], [4, 7]]},
        POINT | {"x": 8.5, "y": -0.5},
    )
    assert list(box.points) == [(0, 0), (8, 5.5)]
    assert list(polygon.points) == [(0, 0), (8, 0), (4, 6)]
    assert list(point.points) == [(8, 0)]


def test_what_lies_outside_is_left_out_with_a_note() -> None:
    outside = [
        BOX | {"left": 8, "right": 12},
        SQUARE | {"points": [[9, 1], [12, 1], [12, 5]]},
        mask([48]),
    ]
    findings, notes = read({"annotations": outside}, FRAME)
    assert findings == []
    assert notes == [
        f"a {kind} of a covers nothing of the image: left out"
        for kind in ("box", "polygon", "mask")
    ]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, "3", True])
def test_what_is_no_number_is_refused(value: Any) -> None:
    for annotation, key in [(BOX, "left"), (POINT, "y"), (BOX, "confidence")]:
        if (key, value) == ("confidence", None):
            continue
        assert f"annotations[0] of the server's response: its {key} is" in refusal(
            annotation | {key: value}
        )
    assert "x of its points[1] is" in refusal(SQUARE | {"points": [[0, 0], [value, 1], [2, 2]]})


@pytest.mark.parametrize(
    ("annotation", "sentence"),
    [
        ("cat", "it is no object"),
        (BOX | {"type": "cube"}, "its type is 'cube'; known: class, box, polygon, mask, point"),
        (BOX | {"label": ""}, "its label is ''"),
        (BOX | {"label": None}, "its label is None"),
        (BOX | {"confidence": 1.2}, "its confidence is 1.2, not between 0 and 1"),
        (BOX | {"left": 4}, "its right or bottom lies before its left or top"),
        (SQUARE | {"points": [[0, 0], [1, 1]]}, "three or more"),
        (SQUARE | {"points": [[0, 0], [1, 1], [2]]}, "its points[2] is no [x, y]"),
        (mask("abc"), "its mask has no run lengths"),
        (mask([1, -1, 48]), "its mask has no run lengths"),
        (mask([1.5, 46.5]), "its mask has no run lengths"),
        (mask([40]), "do not add up to its size"),
        (mask([48], [8, 6]), "its mask is [8, 6], height and width; the image [6, 8]"),
    ],
)
def test_what_is_wrong_is_told(annotation: Any, sentence: str) -> None:
    assert sentence in refusal(annotation)


@given(st.lists(st.booleans(), min_size=48, max_size=48))
def test_run_lengths_come_back_as_the_mask(pixels: list[bool]) -> None:
    expected = np.array(pixels).reshape(6, 8)
    counts, current = [0], False
    for pixel in expected.T.ravel():
        if pixel != current:
            counts.append(0)
            current = not current
        counts[-1] += 1
    findings = found(mask(counts))
    if not expected.any():
        assert findings == []
        return
    assert findings[0].mask is not None
    assert np.array_equal(findings[0].mask, expected)


@pytest.mark.parametrize("name", [name for name in variants() if name.startswith("orientation")])
def test_the_frame_is_that_of_the_upright_image(name: str) -> None:
    assert Frame.of(variants()[name]) == Frame(*upright().size)


@pytest.mark.parametrize("data", [b"", b"no image", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"])
def test_a_file_whose_size_can_not_be_told_is_refused(data: bytes) -> None:
    with pytest.raises(ItemError, match="no image whose size"):
        Frame.of(data)
