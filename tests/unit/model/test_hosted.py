import logging
import pickle
from typing import Any

import numpy as np
import orjson
import pytest
from PIL import Image

from server.errors import TooManyBytesError
from server.model.header import ImageLimits
from server.model.hosted import HostedModel, ImageInput, ModelInfo, Outcome
from server.model.loader import ModelSpecError
from server.model.results import Box, Classification
from tests.photos import upright, variants

CAT = ImageInput(variants()["orientation-6.jpg"], "cat.jpg")
PALE = ImageInput(variants()["grey.jpg"], "pale.jpg")
BROKEN = ImageInput(CAT.data[: len(CAT.data) // 2], "broken.jpg")
TEXT = ImageInput(b"hello", "hello.txt")
EMPTY = ImageInput(b"", "empty.jpg")


class Sizes:
    def load(self) -> None:
        self.loaded = True

    def predict(self, images: list[Any]) -> Any:
        assert self.loaded
        return [Classification(f"{image.size} {len(images)}") for image in images]


class Full(Sizes):
    name = "full"
    version = 2
    input_size = 100

    def load(self) -> None:
        self.steps = ["load"]

    def warmup(self) -> None:
        self.steps.append("warmup")

    def predict(self, images: list[Any]) -> Any:
        assert self.steps == ["load", "warmup"]
        return [Box(f"{image.size}", 1, 0, 0, *image.size) for image in images]


class Picky(Sizes):
    """Raises on grey images."""

    def predict(self, images: list[Any]) -> Any:
        for image in images:
            if len(set(image.getpixel((200, 100)))) == 1:
                raise ValueError("I like colours")
        return super().predict(images)


class OneAtATime(Sizes):
    def predict(self, images: list[Any]) -> Any:
        if len(images) > 1:
            raise RuntimeError("no batches here")
        return super().predict(images)


class OddError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


class Raiser(Sizes):
    error: BaseException

    def predict(self, images: list[Any]) -> Any:  # noqa: ARG002
        raise self.error


class Teller(Sizes):
    answer: Any = None

    def predict(self, images: list[Any]) -> Any:  # noqa: ARG002
        return self.answer


class Unreadable(dict[str, Any]):
    def get(self, *_: Any) -> Any:
        raise OSError("the disk of the result is gone")


class Decoder(Sizes):
    error: Exception | None = None

    def decode(self, data: bytes) -> np.ndarray:
        if self.error:
            raise self.error
        return np.frombuffer(data, np.uint8)

    def predict(self, images: list[Any]) -> Any:
        return [{"annotations": [], "bytes": image[:5].tobytes().decode()} for image in images]


def hosted(model: type, limits: ImageLimits | None = None) -> HostedModel:
    host = HostedModel(f"{__name__}:{model.__name__}", limits or ImageLimits())
    host.load()
    return host


def label(outcome: Outcome) -> Any:
    assert outcome.response is not None, outcome.sentence
    return orjson.loads(outcome.response)["label"]


def failure(outcome: Outcome) -> tuple[str | None, str]:
    assert outcome.response is None
    return outcome.error, str(outcome.sentence)


def sent(value: Any) -> Any:
    """What another process gets of it."""
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own


def test_a_batch_is_answered_in_one_call_and_in_order() -> None:
    outcomes = hosted(Sizes).run([CAT, PALE])
    assert [label(each) for each in outcomes] == [f"{upright().size} 2"] * 2
    names = [orjson.loads(each.response or b"")["image"] for each in outcomes]
    assert names == ["cat.jpg", "pale.jpg"]
    assert all(each.decode_ms > 0 and each.predict_ms > 0 for each in outcomes)


def test_bad_images_fail_alone_and_never_reach_the_model() -> None:
    outcomes = hosted(Sizes).run([BROKEN, CAT, TEXT, EMPTY, PALE])
    errors = [each.error for each in outcomes]
    assert errors == ["undecodable_image", None, "unsupported_image", "empty_image", None]
    assert label(outcomes[1]) == label(outcomes[4]) == f"{upright().size} 2"


def test_without_a_good_image_the_model_is_not_called() -> None:
    Raiser.error = AssertionError("called")
    assert failure(hosted(Raiser).run([TEXT])[0])[0] == "unsupported_image"
    assert hosted(Raiser).run([]) == []


def test_the_limits_hold() -> None:
    [outcome] = hosted(Sizes, ImageLimits(max_pixels=1_000)).run([CAT])
    assert outcome.error == "too_many_pixels"


def test_a_reduced_image_is_answered_in_pixels_of_the_original() -> None:
    [outcome] = hosted(Full).run([CAT])
    assert label(outcome) == "(246, 150)"
    [box] = orjson.loads(outcome.response or b"")["annotations"]
    assert (box["right"], box["bottom"]) == upright().size


def test_a_model_introduces_itself() -> None:
    sizes = HostedModel(f"{__name__}:Sizes", ImageLimits())
    assert sizes.load() == ModelInfo("Sizes", None)
    assert HostedModel(f"{__name__}:Full", ImageLimits()).load() == ModelInfo("full", "2")


def test_only_the_guilty_image_of_a_batch_fails(caplog: pytest.LogCaptureFixture) -> None:
    outcomes = hosted(Picky).run([CAT, PALE, CAT])
    assert [each.error for each in outcomes] == [None, "model_error", None]
    assert failure(outcomes[1])[1] == "The model raised ValueError: I like colours"
    [record] = caplog.records
    assert record.name == "server.model"
    assert record.levelno == logging.ERROR
    assert "in predict" in caplog.text


def test_a_model_that_only_dislikes_batches_is_served_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outcomes = hosted(OneAtATime).run([CAT, CAT])
    assert [label(each) for each in outcomes] == [f"{upright().size} 1"] * 2
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "no batches here" in caplog.text


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("x" * 5_000), "The model raised ValueError: " + "x" * 988),
        (MemoryError(), "The model raised MemoryError"),
        (OddError(), "The model raised OddError"),
        (KeyError("ear"), "The model raised KeyError: 'ear'"),
    ],
)
def test_what_a_model_raises_is_told_in_short(error: Exception, sentence: str) -> None:
    Raiser.error = error
    assert failure(hosted(Raiser).run([CAT])[0]) == ("model_error", sentence)


def test_a_wrong_annotation_that_the_author_made_is_explained() -> None:
    with pytest.raises(ValueError, match="less than or equal") as caught:
        Classification("cat", 1.5)
    Raiser.error = caught.value
    assert failure(hosted(Raiser).run([CAT])[0])[1] == (
        "The model raised ValidationError: confidence: input should be less than or equal to 1"
        " (got 1.5)"
    )


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_the_end_of_the_process_is_no_failure_of_the_model(error: BaseException) -> None:
    Raiser.error = error
    with pytest.raises(type(error)):
        hosted(Raiser).run([CAT])


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (None, "The model's predict returned a NoneType; return a list, one result for each"),
        ({"label": "cat"}, "The model's predict returned a dict; return a list"),
        (np.zeros(2), "The model's predict returned a ndarray; return a list"),
        ([], "The model's predict returned 0 results, but the batch has 1; return one for each"),
        ([[], [], []], "The model's predict returned 3 results, but the batch has 1"),
    ],
)
def test_not_one_result_for_each_image_is_a_model_error(answer: Any, sentence: str) -> None:
    Teller.answer = answer
    for outcome in hosted(Teller).run([CAT, PALE]):
        error, told = failure(outcome)
        assert error == "model_error"
        assert told.startswith(sentence)


def test_a_wrong_result_fails_only_its_image() -> None:
    Teller.answer = ({"label": "cat"}, {"label": "cat", "confidence": 1.7}, Unreadable(), [])
    outcomes = hosted(Teller).run([CAT, BROKEN, CAT, PALE, PALE])
    codes = [None, "undecodable_image", "model_error", "model_error", None]
    assert [each.error for each in outcomes] == codes
    assert failure(outcomes[2])[1] == (
        "The model's result 2 of 4 is wrong: annotations[0].confidence:"
        " input should be less than or equal to 1 (got 1.7)"
    )
    assert failure(outcomes[3])[1] == (
        "The model's result 3 of 4 can't be read: OSError: the disk of the result is gone"
    )


def test_a_model_may_decode_by_itself() -> None:
    Decoder.error = None
    [outcome, empty] = hosted(Decoder).run([TEXT, EMPTY])
    assert orjson.loads(outcome.response or b"")["bytes"] == "hello"
    assert empty.error == "empty_image"


def test_what_a_models_decode_raises_is_the_images_fault(caplog: pytest.LogCaptureFixture) -> None:
    Decoder.error = ValueError("no DICOM")
    assert failure(hosted(Decoder).run([TEXT])[0]) == (
        "undecodable_image",
        "The model can't decode the image: ValueError: no DICOM",
    )
    assert "in decode" in caplog.text
    Decoder.error = TooManyBytesError("Too long a scan.")
    assert failure(hosted(Decoder).run([TEXT])[0]) == ("too_many_bytes", "Too long a scan.")


@pytest.mark.parametrize("value", [0, (224,), (224, 0), "224", (1.5, 2), (3, 224, 224)])
def test_a_wrong_input_size_stops_the_load(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Full, "input_size", value)
    with pytest.raises(ValueError, match=r"input_size is .*; write \(width, height\) or one"):
        hosted(Full)


def test_what_load_raises_is_the_authors_own_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sizes, "load", lambda _: Image.open("no-such-weights"))
    with pytest.raises(FileNotFoundError):
        hosted(Sizes)
    with pytest.raises(ModelSpecError):
        HostedModel("nowhere", ImageLimits()).load()


def test_a_loaded_model_is_pickled_without_its_weights() -> None:
    host = hosted(Sizes)
    assert len(pickle.dumps(host)) < 300
    twin = sent(host)
    twin.load()
    [outcome] = sent(twin.run(sent([CAT])))
    assert label(outcome) == f"{upright().size} 1"
