import logging
import re
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from server.model import check as checking
from server.model.check import check
from server.model.header import ImageLimits
from tests.photos import photo

CAT, ROCKET = photo("chelsea.png"), photo("rocket.jpg")


class Everything:
    name, version = "everything", 7

    def load(self) -> None:
        pass

    def predict(self, images: list[Any]) -> Any:
        return [
            {
                "annotations": [
                    {"label": "cat", "confidence": 0.875},
                    {"type": "box", "label": "ear", "left": 1, "top": 2, "right": 300, "bottom": 4},
                    {"type": "polygon", "label": "paw", "points": [[1, 2], [3, 4], [5, 6]]},
                    {"type": "point", "label": "nose", "x": 1, "y": 2},
                    {"type": "mask", "label": "fur", "mask": np.ones((image.height, image.width))},
                ],
                "heat": 3,
            }
            for image in images
        ]


class Shy(Everything):
    def predict(self, images: list[Any]) -> Any:
        return [[] for _ in images]


class Talkative(Everything):
    def predict(self, images: list[Any]) -> Any:
        return [[{"label": f"cat {n}"} for n in range(1000)] for _ in images]


class WidthAndHeight(Everything):
    def predict(self, images: list[Any]) -> Any:
        box = {"type": "box", "label": "cat", "left": 90, "top": 50, "right": 20, "bottom": 99}
        return [box for _ in images]


class PartsOfOne(Everything):
    def predict(self, images: list[Any]) -> Any:
        box = {"type": "box", "label": "cat", "left": 0.1, "top": 0.2, "right": 0.5, "bottom": 0.6}
        return [box for _ in images]


class Wrong(Everything):
    def predict(self, images: list[Any]) -> Any:
        return [{"label": "cat", "confidence": 1.7} for _ in images]


class Raises(Everything):
    def predict(self, images: list[Any]) -> Any:
        return self.inner(len(images))

    def inner(self, count: int) -> Any:
        raise ValueError(f"shape ({count}, 224)")


class Alone(Everything):
    def predict(self, images: list[Any]) -> Any:
        if len(images) > 1:
            raise RuntimeError("batches are beyond me")
        return [[]]


class FirstOnly(Everything):
    def predict(self, images: list[Any]) -> Any:
        return [[] for _ in images[:1]]


class NoWeights(Everything):
    def load(self) -> None:
        raise FileNotFoundError("weights.onnx")


@pytest.fixture(autouse=True)
def few_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "RUNS", 3)


def checked(model: str, *paths: Path) -> tuple[int, str]:
    out = StringIO()
    spec = model if ":" in model or model == "nonsense" else f"{__name__}:{model}"
    code = check(spec, paths, ImageLimits(), out)
    return code, out.getvalue()


def test_a_good_model_is_shown_with_its_answers_and_speed() -> None:
    code, text = checked("Everything", CAT, ROCKET)
    assert code == 0
    assert text.endswith("\nAll is well.\n")
    assert re.search(r"Loaded   everything, version 7, in \d+ ms\n", text)
    assert re.search(r"\nchelsea.png  \(decode \d+\.\d ms, predict \d+\.\d ms\)\n", text)
    for line in (
        "   87.5%  cat\n",
        "  100.0%  ear                          box 1,2 to 300,4\n",
        "  100.0%  paw                          polygon of 3 corners\n",
        "  100.0%  nose                         point 1,2\n",
        "  100.0%  fur                          mask of 135,300 pixels\n",
        "with the keys heat\n",
    ):
        assert line in text
    for name in ("one image  ", "batch of 4 "):
        assert re.search(
            rf"  {name} .*predict +\d+\.\d ms +\d+\.\d images/s   \(median of 3\)", text
        )
    assert "note" not in text


def test_without_an_image_one_is_made_up() -> None:
    code, text = checked("Shy")
    assert code == 0
    assert "made-up one: a grey gradient" in text
    assert "\n  nothing found\n" in text


def test_a_long_answer_is_cut() -> None:
    _, text = checked("Talkative", CAT)
    assert text.count("cat ") == 10
    assert "... and 990 more" in text


@pytest.mark.parametrize(
    ("model", "note"),
    [
        ("WidthAndHeight", "right and bottom are edges, not width and height"),
        ("PartsOfOne", "coordinates are pixels, not parts of 1"),
    ],
)
def test_boxes_that_are_hardly_meant_get_a_note(model: str, note: str) -> None:
    code, text = checked(model, CAT)
    assert code == 0
    assert note in text


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("nonsense", "model 'nonsense' is not of the form place:Class"),
        ("Missing", "did you mean"),
        ("NoWeights", "loading it raised FileNotFoundError: weights.onnx"),
        ("Wrong", "result 1 of 1 is wrong: annotations[0].confidence: input should be less"),
        ("Raises", "The model raised ValueError: shape (1, 224)"),
        ("Alone", "batch of 4: predict raised, though not on the same images one by one"),
        ("FirstOnly", "batch of 4: The model's predict returned 1 results, but the batch has 4"),
    ],
)
def test_a_problem_is_a_sentence_and_the_exit_code(model: str, sentence: str) -> None:
    code, text = checked(model, CAT)
    assert code == 1
    assert re.search(rf"PROBLEM  .*{re.escape(sentence)}", text)
    assert text.endswith("\n1 problem.\n")


@pytest.mark.parametrize(
    ("model", "frames"),
    [("Raises", ["predict", "inner"]), ("NoWeights", ["load"]), ("Alone", ["predict"])],
)
def test_a_traceback_shows_the_authors_frames_only(model: str, frames: list[str]) -> None:
    _, text = checked(model, CAT)
    assert re.findall(r"    File .*, in (\w+)", text) == frames
    assert "hosted.py" not in text


def test_the_traceback_of_a_broken_module_is_shown(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def weights():\n    return 1 / 0\nweights()\n")
    code, text = checked(f"{tmp_path}/broken.py:Model")
    assert code == 1
    assert re.findall(r"    File .*, in (\S+)", text) == ["<module>", "weights"]


def test_a_bad_image_is_a_problem_and_the_others_go_on(tmp_path: Path) -> None:
    code, text = checked("Everything", tmp_path / "none.jpg", Path(__file__), CAT)
    assert code == 1
    assert "none.jpg can't be read: No such file or directory" in text
    assert "PROBLEM  These bytes are no image this server takes" in text
    assert "mask of 135,300 pixels" in text
    assert text.endswith("\n2 problems.\n")


def test_the_log_is_as_before_afterwards() -> None:
    checked("Raises", CAT)
    assert not logging.getLogger("server.model").filters
