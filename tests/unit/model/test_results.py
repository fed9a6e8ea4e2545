import subprocess
import sys
import tracemalloc
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pydantic import ValidationError

from server.model.results import (
    Box,
    Classification,
    Frame,
    Mask,
    Point,
    Polygon,
    ResultError,
    encode,
    explain,
)

WHOLE = Frame("cat.jpg", (60, 40), (60, 40))
HALF = Frame("cat.jpg", (30, 20), (60, 40))  # decoded at half the scale
DECODED_BY_THE_AUTHOR = Frame("cat.dcm")
NAN = float("nan")


def answer(result: object, frame: Frame = WHOLE) -> dict[str, Any]:
    response: dict[str, Any] = orjson.loads(encode(result, frame))
    return response


def annotation(result: object, frame: Frame = WHOLE) -> dict[str, Any]:
    [one] = answer(result, frame)["annotations"]
    assert isinstance(one, dict)
    return one


def complaint(result: object, frame: Frame = WHOLE) -> str:
    with pytest.raises(ResultError) as caught:
        encode(result, frame)
    return str(caught.value)


def unpacked(rle: dict[str, Any]) -> np.ndarray:
    """A mask from its runs, the plain way."""
    height, width = rle["size"]
    column_by_column = [n % 2 for n, count in enumerate(rle["counts"]) for _ in range(count)]
    return np.array(column_by_column, bool).reshape(width, height).T


def test_a_response_names_the_image_the_best_answer_and_all_annotations() -> None:
    assert answer([Classification("dog", 0.25), Classification("cat", 0.5)]) == {
        "image": "cat.jpg",
        "label": "cat",
        "confidence": 0.5,
        "annotations": [
            {"type": "class", "label": "dog", "confidence": 0.25},
            {"type": "class", "label": "cat", "confidence": 0.5},
        ],
    }


def test_a_classification_is_the_best_answer_whatever_the_others_are() -> None:
    found = [Point("nose", 0.75, x=1, y=2), Classification("cat", 0.5)]
    assert answer(found)["label"] == "cat"
    assert answer([found[0], Point("ear", 0.875, x=1, y=2)])["label"] == "ear"


def test_nothing_found_is_an_answer() -> None:
    assert answer([]) == {"image": "cat.jpg", "label": None, "confidence": None, "annotations": []}


@pytest.mark.parametrize(
    ("instance", "plain"),
    [
        (Classification("cat"), {"type": "class", "label": "cat"}),
        (Classification("cat", 0.5), {"label": "cat", "confidence": 0.5}),
        (
            Box("cat", 0.5, 1, 2, 3, 4.5),
            {"type": "box", "label": "cat", "confidence": 0.5, "left": 1, "top": 2}
            | {"right": 3, "bottom": 4.5},
        ),
        (
            Polygon("cat", 0.5, [[1, 2], [3, 4], [5, 6]]),
            {"type": "polygon", "label": "cat", "confidence": 0.5}
            | {"points": [(1, 2), (3, 4), (5, 6)]},
        ),
        (
            Mask("cat", 0.5, np.eye(40, 60)),
            {"type": "mask", "label": "cat", "confidence": 0.5, "mask": np.eye(40, 60).tolist()},
        ),
        (
            Point("nose", 0.5, 1, 2),
            {"type": "point", "label": "nose", "confidence": 0.5, "x": 1, "y": 2},
        ),
    ],
)
def test_a_plain_dict_is_as_good_as_an_annotation(instance: object, plain: dict[str, Any]) -> None:
    expected = annotation(instance)
    for result in (plain, [plain], (instance,), {"annotations": [plain]}):
        assert annotation(result) == expected


def test_numpy_numbers_and_arrays_will_do() -> None:
    numbers: list[Any] = [np.float16(0.5), np.float32(1), np.array(2), np.int64(3), np.uint8(4)]
    assert Box(np.str_("cat"), *numbers) == Box("cat", 0.5, 1, 2, 3, 4)
    corners = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
    assert Polygon("cat", points=corners) == Polygon("cat", points=list(corners))
    assert annotation({"label": "cat", "confidence": np.float32(0.5)})["confidence"] == 0.5


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        ({"label": ""}, "annotations[0].label: string should have at least 1 character (got '')"),
        ({"label": 7}, "annotations[0].label: input should be a valid string (got 7)"),
        ({"confidence": 1}, "annotations[0].label: is missing"),
        (
            {"label": "a", "confidence": 1.7},
            "annotations[0].confidence: input should be less than or equal to 1 (got 1.7)",
        ),
        (
            {"label": "a", "confidence": "0.5"},
            "annotations[0].confidence: input should be a valid number (got '0.5')",
        ),
        (
            {"label": "a", "confidence": NAN},
            "annotations[0].confidence: input should be a finite number (got nan)",
        ),
        (
            {"type": "point", "label": "a", "x": np.inf, "y": 1},
            "annotations[0].x: input should be a finite number (got inf)",
        ),
        (
            {"type": "polygon", "label": "a", "points": [[1, 2], [3, 4]]},
            "annotations[0].points: tuple should have at least 3 items after validation, not 2",
        ),
        (
            {"type": "polygon", "label": "a", "points": [[1, 2], [3, "4"], [5, 6]]},
            "annotations[0].points[1][1]: input should be a valid number (got '4')",
        ),
        (
            {"label": "a", "left": 3},
            "annotations[0].left: a class has no such key (its keys are label, confidence)",
        ),
        (
            {"type": "square", "label": "a"},
            "annotations[0].type: input should be one of class, box, polygon, mask, point (got 's",
        ),
        ({"type": ["box"]}, "annotations[0].type: input should be one of class, box, polygon"),
        (
            [{"label": "a"}, "b"],
            "annotations[1]: input should be an annotation or a dict (got 'b')",
        ),
        (
            None,
            'it is None; return an annotation, a list of annotations, or a dict with a list "an',
        ),
        (np.zeros(3), "it is array([0., 0., 0.]); return an annotation"),
        ({"annotations": {}}, "annotations: input should be a list (got {})"),
        ({1: 2}, "annotations[0].label: is missing"),
    ],
)
def test_what_is_no_result_is_told_to_the_author(result: object, sentence: str) -> None:
    assert complaint(result).startswith(sentence)


def test_a_huge_wrong_value_is_shown_in_short() -> None:
    assert len(complaint({"label": ["cat"] * 10_000})) < 200


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("cat", 1.7), "confidence: input should be less than or equal to 1 (got 1.7)"),
        ((7, 0.5), "label: input should be a valid string (got 7)"),
    ],
)
def test_a_wrong_positional_argument_is_called_by_its_name(arguments: Any, sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Classification(*arguments)
    assert explain(caught.value) == sentence


def test_a_box_without_edges_is_refused() -> None:
    with pytest.raises(ValidationError) as caught:
        Box("cat", 0.5, 1, 2, 3)
    assert explain(caught.value) == "bottom: is missing"


def test_the_authors_own_keys_are_carried_along() -> None:
    extra = {"heat": np.array([[0.5]]), "n": np.int64(3), "deep": {"a": [1, None, "é"]}, "ok": True}
    response = answer({"annotations": [], **extra})
    assert {key: response[key] for key in extra} == {**extra, "heat": [[0.5]], "n": 3}


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ({"heat": [NAN]}, "heat: it can't be written as JSON: Out of range float values"),
        ({"heat": np.array([np.inf])}, "heat: it can't be written as JSON: Out of range"),
        ({"what": object()}, "what: it can't be written as JSON: object is no JSON type"),
        ({"text": "\ud800"}, "text: it can't be written as JSON:"),
        ({"label": "cat"}, "the key 'label' is not free; use another name (a string)"),
        ({"image": "dog.jpg"}, "the key 'image' is not free"),
        ({3: 4}, "the key 3 is not free"),
    ],
)
def test_own_keys_that_are_no_json_are_refused(extra: dict[Any, Any], sentence: str) -> None:
    assert complaint({"annotations": [], **extra}).startswith(sentence)


def test_own_keys_that_go_round_in_a_circle_are_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert complaint({"annotations": [], "circle": circle}).startswith("circle: it can't be")


def test_own_keys_that_are_endlessly_deep_are_refused() -> None:
    deep: list[Any] = []
    for _ in range(200_000):
        deep = [deep]
    assert complaint({"annotations": [], "deep": deep}).startswith("deep: it can't be written")


def test_coordinates_come_out_in_pixels_of_the_original() -> None:
    frame = Frame("cat.jpg", (30, 20), (60, 80))  # half the width, a quarter of the height
    box = annotation(Box("cat", 1, -1, 2, 31, 4), frame)
    assert [box[edge] for edge in ("left", "top", "right", "bottom")] == [-2, 8, 62, 16]
    assert annotation(Polygon("cat", 1, [[0, 0], [1, 2], [3, 4]]), frame)["points"][1:] == [
        [2, 8],
        [6, 16],
    ]
    point = annotation(Point("nose", 1, 1.5, 2), frame)
    assert (point["x"], point["y"]) == (3, 8)


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_a_mask_comes_out_as_its_runs_down_the_columns(mask: np.ndarray) -> None:
    height, width = mask.shape
    rle = annotation(Mask("cat", mask=mask), Frame("a", (width, height), (width, height)))["mask"]
    assert rle["size"] == [height, width]
    assert (unpacked(rle) == mask).all()


def test_the_runs_are_those_of_coco() -> None:
    mask = [[1, 0, 0], [1, 1, 0]]
    rle = annotation(Mask("cat", mask=mask), DECODED_BY_THE_AUTHOR)["mask"]
    assert rle == {"size": [2, 3], "counts": [0, 2, 1, 1, 2]}


@given(st.integers(1, 5), st.integers(1, 5), st.data())
def test_a_reduced_mask_is_enlarged_to_the_original(down: int, across: int, data: Any) -> None:
    mask = data.draw(arrays(np.bool_, (4, 6)))
    frame = Frame("a", (6, 4), (6 * across, 4 * down))
    expected = mask.repeat(down, axis=0).repeat(across, axis=1)
    assert (unpacked(annotation(Mask("cat", mask=mask), frame)["mask"]) == expected).all()


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        (np.zeros((1, 40, 60)), "annotations[0].mask: input should be a 2-dimensional array"),
        (np.zeros((0, 60)), "annotations[0].mask: input should be a 2-dimensional array"),
        ([["0", "1"]], "annotations[0].mask: input should be a 2-dimensional array"),
        ([[1], [1, 0]], "annotations[0].mask: input should be a 2-dimensional array"),
        (np.full((40, 60), 0.7), "annotations[0].mask: every value should be 0 or 1; compare"),
        (np.full((40, 60), 255), "annotations[0].mask: every value should be 0 or 1"),
        (np.full((40, 60), NAN), "annotations[0].mask: every value should be 0 or 1"),
        (
            np.zeros((60, 40)),
            "annotations[0].mask: it is 40 x 60 pixels, the image given is 60 x 40",
        ),
    ],
)
def test_a_wrong_mask_is_told_to_the_author(mask: object, sentence: str) -> None:
    assert complaint({"type": "mask", "label": "cat", "mask": mask}).startswith(sentence)


def test_a_mask_is_of_the_image_given_not_of_the_original() -> None:
    assert complaint(Mask("cat", mask=np.zeros((40, 60))), HALF).endswith("given is 30 x 20")


def test_a_response_that_is_too_large_is_refused() -> None:
    result = {"annotations": [], "text": "x" * 1_000}
    size = len(encode(result, WHOLE))
    assert encode(result, WHOLE, max_bytes=size)
    with pytest.raises(ResultError, match=r"larger than .* MiB; return fewer"):
        encode(result, WHOLE, max_bytes=size - 1)


def test_masks_that_are_too_large_are_refused_before_they_fill_the_memory() -> None:
    noise = Mask("cat", mask=np.indices((40, 60)).sum(axis=0) % 2)
    tracemalloc.start()
    try:
        with pytest.raises(ResultError, match="larger than"):
            encode([noise] * 100, WHOLE, max_bytes=10_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 300_000  # the runs of one take 19,200 bytes


def test_a_file_name_that_is_no_text_does_not_spoil_the_answer() -> None:
    assert answer([], Frame("caf\udce9.jpg"))["image"] == "caf?.jpg"


def test_what_an_author_imports_is_loaded_only_when_it_is_asked_for() -> None:
    code = (
        "import sys, server.model\n"
        "assert not {'PIL', 'numpy', 'pydantic', 'onnxruntime'} & set(sys.modules)\n"
        "from server.model import Box, Classification, Mask, Model, Point, Polygon\n"
        "assert 'onnxruntime' not in sys.modules\n"
        "try: server.model.Circle\n"
        "except AttributeError: print('no circles')\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "no circles\n"
