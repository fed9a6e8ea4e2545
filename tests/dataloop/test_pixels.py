"""Every type of annotation arrives at the gate right to the pixel."""

import base64
import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.dataloop.conftest import Serve, Tool, picture
from tests.dataloop.gate import DATASET, Gate, Json
from tests.photos import STORED_AS, photo

ANY_LABEL = ("--missing-labels", "upload")
WIDTH, HEIGHT = 64, 48
LEFT, TOP, RIGHT, BOTTOM = 20, 12, 30, 18  # of the white rectangle


def turned(orientation: int) -> bytes:
    """The picture, stored as EXIF says that it lies."""
    with Image.open(io.BytesIO(picture(WIDTH, HEIGHT))) as image:
        stored = image.transpose(STORED_AS[orientation]) if orientation > 1 else image
        exif = Image.Exif()
        exif[0x0112] = orientation
        file = io.BytesIO()
        stored.save(file, "PNG", exif=exif)
    return file.getvalue()


def of_type(annotations: list[Json], type_: str) -> Json:
    (found,) = [each for each in annotations if each["type"] == type_]
    return found


def xy(points: list[Json]) -> list[tuple[float, float]]:
    return [(point["x"], point["y"]) for point in points]


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_type_is_right_to_the_pixel(
    gate: Gate, serve: Serve, tool: Tool, mode: str, orientation: int
) -> None:
    item = gate.add_item(turned(orientation), mimetype="image/png")
    server = serve("Patch").url
    ended = tool("--item-id", item, "--server", server, "--mode", mode, *ANY_LABEL)
    assert ended.code == 0, ended.err

    there = gate.of(item, "Patch")
    assert len(there) == 5
    assert "coordinates" not in of_type(there, "class")
    assert xy(of_type(there, "box")["coordinates"]) == [(LEFT, TOP), (RIGHT, BOTTOM)]
    (ring,) = of_type(there, "segment")["coordinates"]
    assert xy(ring) == [(LEFT, TOP), (RIGHT, TOP), (RIGHT, BOTTOM), (LEFT, BOTTOM)]
    assert xy([of_type(there, "point")["coordinates"]]) == [(LEFT, TOP)]
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[TOP:BOTTOM, LEFT:RIGHT] = True
    assert np.array_equal(pixels(of_type(there, "binary")), expected)


def pixels(annotation: Json) -> NDArray[np.bool_]:
    """What a mask covers, as Dataloop shows it: what is not transparent."""
    data = base64.b64decode(annotation["coordinates"].removeprefix("data:image/png;base64,"))
    with Image.open(io.BytesIO(data)) as image:
        shown: NDArray[np.bool_] = np.asarray(image)[:, :, 3] == 255
    return shown


def test_each_tells_its_model_and_its_confidence(gate: Gate, serve: Serve, tool: Tool) -> None:
    item = gate.add_item(picture())
    names = ("--model-name", "finder", "--model-id", "finder-7")
    ended = tool("--item-id", item, "--server", serve("Patch").url, *names, *ANY_LABEL)
    assert ended.code == 0, ended.err
    of_box = of_type(gate.of(item), "box")
    told = {"name": "finder", "model_id": "finder-7", "confidence": 0.6}
    assert of_box["metadata"]["user"]["model"] == told
    assert of_box["metadata"]["system"]["model"] == told
    assert of_box["metadata"]["system"]["automated"] is True
    assert (of_box["label"], of_box["itemId"], of_box["datasetId"]) == ("a box", item, DATASET)


def test_what_sticks_out_of_the_image_is_clamped(gate: Gate, serve: Serve, tool: Tool) -> None:
    item = gate.add_item(picture())
    ended = tool("--item-id", item, "--server", serve("Wide").url, *ANY_LABEL)
    assert ended.code == 0
    assert xy(of_type(gate.of(item), "box")["coordinates"]) == [(0, 0), (WIDTH, HEIGHT)]
    assert xy([of_type(gate.of(item), "point")["coordinates"]]) == [(0, HEIGHT)]
    assert "a box of gone covers nothing of the image: left out" in ended.err


def test_the_real_model_finds_a_cat_on_a_real_photo(gate: Gate, serve: Serve, tool: Tool) -> None:
    item = gate.add_item(photo("chelsea.png").read_bytes(), "chelsea.png", mimetype="image/png")
    ended = tool("--item-id", item, "--server", serve("").url, *ANY_LABEL)
    assert ended.code == 0, ended.err
    there = gate.of(item, "efficientnet-lite0")
    best = max(there, key=lambda each: each["metadata"]["user"]["model"]["confidence"])
    assert best["label"] in {"Egyptian cat", "tabby cat", "tiger cat"}
    assert best["metadata"]["user"]["model"]["model_id"] == "efficientnet-lite0@1"


def test_findings_below_the_least_confidence_are_left_out(
    gate: Gate, serve: Serve, tool: Tool
) -> None:
    item = gate.add_item(picture())
    server = serve("Patch").url
    tool("--item-id", item, "--server", server, "--min-confidence", "0.75", *ANY_LABEL)
    assert {each["type"] for each in gate.of(item)} == {"binary", "point"}
