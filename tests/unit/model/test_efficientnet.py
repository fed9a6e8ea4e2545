import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from server.model import efficientnet
from server.model.efficientnet import EfficientNetLite0, preprocess
from tests.photos import photo

NUMBERS = Path(__file__).parents[2] / "data" / "efficientnet_lite0.json"
STORED: dict[str, dict[str, float]] = json.loads(NUMBERS.read_text("utf-8"))["probabilities"]
PHOTOS = [name for name in STORED if name != "synthetic"]


def open_photo(name: str) -> Image.Image:
    return Image.open(photo(name)).convert("RGB")


def synthetic() -> NDArray[np.float32]:
    c, y, x = np.ogrid[:3, :224, :224]
    return (np.sin(0.05 * (c + 1) * y) * np.cos(0.07 * x + c)).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> EfficientNetLite0:
    model = EfficientNetLite0()
    model.load()
    model.warmup()
    return model


@pytest.mark.parametrize("name", STORED)
def test_the_network_computes_what_the_original_computes(
    model: EfficientNetLite0, name: str
) -> None:
    pixels = synthetic() if name == "synthetic" else preprocess(open_photo(name))
    (found,) = model.session.run(None, {"images": pixels[None]})[0]
    wanted = {int(index): probability for index, probability in STORED[name].items()}
    assert found.sum() == pytest.approx(1, abs=1e-5)
    # The largest difference was 4e-7 where the numbers were stored; other processors round anew.
    assert found[list(wanted)] == pytest.approx(list(wanted.values()), abs=1e-5, rel=0)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("chelsea.png", {"Egyptian cat", "tiger cat", "tabby cat"}),
        ("coffee.png", {"espresso"}),
        ("rocket.jpg", {"missile"}),
        ("camera.png", {"tripod"}),
        ("motorcycle_left.png", {"moped"}),
    ],
)
def test_a_photo_is_called_what_it_shows(
    model: EfficientNetLite0, name: str, labels: set[str]
) -> None:
    (answers,) = model.predict([open_photo(name)])
    assert answers[0].label in labels


def test_the_five_likeliest_classes_are_answered_the_likeliest_first(
    model: EfficientNetLite0,
) -> None:
    (answers,) = model.predict([open_photo("coffee.png")])
    likeliest = list(STORED["coffee.png"].items())[:5]
    assert [a.label for a in answers] == [model.labels[int(index)] for index, _ in likeliest]
    assert [a.confidence for a in answers] == pytest.approx([p for _, p in likeliest], abs=1e-5)


def test_a_batch_answers_what_its_images_answer_alone(model: EfficientNetLite0) -> None:
    images = [open_photo(name) for name in PHOTOS]
    for together, image in zip(model.predict(images), images, strict=True):
        (alone,) = model.predict([image])
        assert [a.label for a in together] == [a.label for a in alone]
        confidences = [a.confidence for a in alone]  # the same to the bit where this was written
        assert [a.confidence for a in together] == pytest.approx(confidences, abs=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (223, 224), (5000, 4000)])
def test_an_image_of_any_size_is_answered(model: EfficientNetLite0, size: tuple[int, int]) -> None:
    (answers,) = model.predict([Image.new("RGB", size, (250, 120, 10))])
    assert len(answers) == 5
    assert all(0 <= answer.confidence <= 1 for answer in answers)


def test_only_the_middle_square_is_looked_at() -> None:
    square = open_photo("chelsea.png").resize((256, 256))
    panorama = Image.new("RGB", (1024, 256), "red")
    panorama.paste(square, (384, 0))
    assert np.array_equal(preprocess(panorama), preprocess(square))


def test_pixels_become_red_green_and_blue_planes_around_zero() -> None:
    pixels = preprocess(Image.new("RGB", (300, 300), (255, 127, 0)))
    assert pixels.shape == (3, 224, 224)
    assert pixels.dtype == np.float32
    assert [plane.mean() for plane in pixels] == pytest.approx([1, 0, -127 / 128])


def test_a_large_jpeg_decoded_at_reduced_scale_gets_the_same_answer(
    model: EfficientNetLite0, tmp_path: Path
) -> None:
    path = tmp_path / "large.jpg"
    open_photo("coffee.png").resize((3000, 2000), Image.Resampling.LANCZOS).save(path, quality=90)
    with Image.open(path) as whole, Image.open(path) as reduced:
        reduced.draft("RGB", EfficientNetLite0.input_size)
        assert reduced.size == (750, 500)
        one, other = model.predict([whole, reduced])
    assert one[0].label == other[0].label
    assert one[0].confidence == pytest.approx(other[0].confidence, abs=0.05)


def test_the_model_file_carries_the_name_and_version_of_the_model(
    model: EfficientNetLite0,
) -> None:
    metadata = model.session.get_modelmeta().custom_metadata_map
    assert (metadata["name"], metadata["version"]) == (model.name, model.version)


def test_the_thousand_labels_are_distinct_names(model: EfficientNetLite0) -> None:
    assert len({label.casefold() for label in model.labels}) == 1000
    assert all(label and label == label.strip() and "," not in label for label in model.labels)


def test_a_missing_model_file_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(efficientnet, "ONNX_FILE", tmp_path / "efficientnet_lite0.onnx")
    with pytest.raises(FileNotFoundError, match="make setup"):
        EfficientNetLite0().load()
