"""How much memory decoding takes, where it may not take all there is."""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import orjson
import pytest
from PIL import Image

from server.model import memory
from server.model.header import ImageLimits
from server.model.hosted import ImageInput
from server.runner.process import ProcessWorker
from server.runner.worker import WorkerConfig

MIB = 2**20

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")


class Counting:
    """Answers how many images it got at once."""

    def load(self) -> None:
        pass

    def predict(self, images: list[Any]) -> list[dict[str, object]]:
        return [{"annotations": [], "together": len(images)} for _ in images]


class Reading(Counting):
    """Decodes by itself."""

    def decode(self, data: bytes) -> bytes:
        return bytes(len(data) * MIB)


def picture(megapixels: int, mode: str = "RGB", **options: object) -> ImageInput:
    """A PNG of so many megapixels, which takes four bytes a pixel in RGB."""
    file = BytesIO()
    Image.new(mode, (1000, megapixels * 1000)).save(file, "PNG", compress_level=1, **options)
    return ImageInput(file.getvalue(), "a.png")


ROOM = 40 * MIB
SMALL = picture(1)
MEDIUM = picture(4)
LARGE = picture(30)


@contextmanager
def working(model: str, room: int = ROOM) -> Iterator[ProcessWorker]:
    config = WorkerConfig(f"{__file__}:{model}", ImageLimits(memory=room), 60, 60, 0, "text")
    worker = ProcessWorker(config, memory.ENVIRONMENT)
    worker.load()
    yield worker
    worker.close()


@pytest.fixture(scope="module")
def worker() -> Iterator[ProcessWorker]:
    with working("Counting") as worker:
        yield worker


def answers(worker: ProcessWorker, *images: ImageInput) -> list[Any]:
    """How many images were predicted together with each, or the error of it."""
    return [
        outcome.error or orjson.loads(outcome.response or b"")["together"]
        for outcome in worker.run(images)
    ]


@only_linux
def test_no_more_memory_than_allowed_can_be_had_and_then_all_again() -> None:
    with memory.limited(64 * MIB):
        assert bytearray(16 * MIB)
        with pytest.raises(MemoryError):
            bytearray(256 * MIB)
    assert bytearray(256 * MIB)


@only_linux
def test_a_lower_limit_of_the_system_stays() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    used = memory.PAGE * int(memory._USED.read_text().split()[5])
    lower = (used + 128 * MIB, before[1])
    resource.setrlimit(resource.RLIMIT_DATA, lower)
    try:
        with memory.limited(1000 * MIB), pytest.raises(MemoryError):
            bytearray(256 * MIB)
        assert resource.getrlimit(resource.RLIMIT_DATA) == lower
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


@only_linux
@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_image_that_takes_too_much_memory_fails_alone(worker: ProcessWorker, at: int) -> None:
    images = [SMALL, SMALL]
    images.insert(at, LARGE)
    told = answers(worker, *images)
    assert told.pop(at) == "too_many_pixels"
    assert all(isinstance(each, int) for each in told)


@only_linux
def test_what_was_allowed_before_is_no_more_room(worker: ProcessWorker) -> None:
    assert answers(worker, *[MEDIUM, LARGE] * 3)[1::2] == ["too_many_pixels"] * 3


@only_linux
def test_images_that_take_too_much_memory_together_are_predicted_one_after_the_other(
    worker: ProcessWorker,
) -> None:
    told = answers(worker, *[MEDIUM] * 8)
    assert all(1 <= each < 5 for each in told), told  # what the C library holds back varies


@only_linux
def test_a_model_that_decodes_by_itself_has_no_more_memory() -> None:
    with working("Reading") as worker:
        images = (ImageInput(b"x" * 20, "a"), ImageInput(b"x" * 200, "b"))
        assert answers(worker, *images) == [1, "too_many_pixels"]


@only_linux
@pytest.mark.parametrize("format_", ["WEBP", "JPEG"])
def test_what_a_library_calls_broken_is_told_to_be_too_large(
    worker: ProcessWorker, format_: str
) -> None:
    file = BytesIO()
    Image.new("RGB", (3500, 3500)).save(file, format_, progressive=True, quality=10, method=0)
    assert answers(worker, ImageInput(file.getvalue(), "a"), SMALL) == ["too_many_pixels", 1]


def test_a_broken_image_that_is_small_enough_is_broken(worker: ProcessWorker) -> None:
    assert answers(worker, ImageInput(MEDIUM.data[:-5000], "a")) == ["undecodable_image"]
