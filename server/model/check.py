"""`python -m server check`: tries a model and tells its author what is wrong, or how fast it is."""

import logging
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from time import perf_counter
from types import TracebackType
from typing import Any, Final, TextIO

import orjson
from PIL import Image

from server.errors import ServerError
from server.model.header import ImageLimits
from server.model.hosted import HostedModel, ImageInput, Outcome
from server.model.loader import ModelSpecError

BATCH: Final = 4
SHOWN: Final = 10  # annotations of one image
RUNS: Final = 20
SECONDS: Final = 2.0  # for measuring one speed
_OURS: Final = ("server.model.check", "server.model.hosted", "server.model.loader", "importlib")


def check(spec: str, paths: Sequence[Path], limits: ImageLimits, out: TextIO) -> int:
    """Loads a model, runs it on each image and on a batch of them, and prints what came of it.

    Args:
        spec: Where the model's class is, as `load_class` reads it.
        paths: Image files; without any, an image is made up.
        limits: What images are accepted, as in the server.
        out: Where to print.

    Returns:
        The exit code: 0, or 1 when anything went wrong.
    """
    return _Check(HostedModel(spec, limits), spec, out).run(paths)


class _Check:
    def __init__(self, model: HostedModel, spec: str, out: TextIO) -> None:
        self._model = model
        self._spec = spec
        self._out = out
        self._problems = 0
        self._raised: list[BaseException] = []  # by the author's code, since the last problem

    def run(self, paths: Sequence[Path]) -> int:
        with _collecting(self._raised):
            if self._load():
                images = self._read(paths)
                good = [image for image in images if self._try(image)]
                if good:
                    self._measure(good)
        many = "1 problem" if self._problems == 1 else f"{self._problems} problems"
        self._say(f"\n{many}." if self._problems else "\nAll is well.")
        return 1 if self._problems else 0

    def _load(self) -> bool:
        self._say(f"Model    {self._spec}")
        start = perf_counter()
        try:
            info = self._model.load()
        except ModelSpecError as error:
            self._raised += [error.__cause__] if error.__cause__ else []
            self._problem(str(error))
        except Exception as error:  # noqa: BLE001 - the author's own code, told with its traceback
            self._raised.append(error)
            self._problem(f"loading it raised {type(error).__name__}: {error}")
        else:
            version = f", version {info.version}" if info.version else ""
            self._say(f"Loaded   {info.name}{version}, in {(perf_counter() - start) * 1e3:.0f} ms")
            return True
        return False

    def _read(self, paths: Sequence[Path]) -> list[ImageInput]:
        images = []
        for path in paths:
            try:
                images.append(ImageInput(path.read_bytes(), path.name))
            except OSError as error:
                self._problem(f"{path} can't be read: {error.strerror or error}")
        if not paths:
            self._say("No image was named, so here is a made-up one: a grey gradient.")
            images.append(ImageInput(_gradient(), "gradient.jpg"))
        return images

    def _try(self, image: ImageInput) -> bool:
        [outcome] = self._model.run([image])
        times = f"decode {outcome.decode_ms:.1f} ms, predict {outcome.predict_ms:.1f} ms"
        self._say(f"\n{image.name}  ({times})")
        if outcome.response is None:
            self._problem(str(outcome.sentence))
            return False
        response = orjson.loads(outcome.response)
        for line in _lines(response):
            self._say(f"  {line}")
        return True

    def _measure(self, images: Sequence[ImageInput]) -> None:
        self._say("\nSpeed of one worker")
        self._speed(images[:1])
        self._speed(list(islice(cycle(images), max(BATCH, min(len(images), 2 * BATCH)))))

    def _speed(self, batch: Sequence[ImageInput]) -> None:
        name = f"batch of {len(batch)}" if len(batch) > 1 else "one image"
        runs = list(_repeated(self._model, batch))
        sentences = [each.sentence for each in runs[0] if each.sentence]
        if self._raised and not sentences:
            sentences = [self._only_together(self._raised[0])]
        if sentences:
            self._problem(f"{name}: {sentences[0]}")
            return
        decode = median(sum(each.decode_ms for each in run) for run in runs)
        predict = median(run[0].predict_ms for run in runs)
        rate = 1_000 * len(batch) / (decode + predict)
        times = f"decode {decode:6.1f} ms   predict {predict:6.1f} ms   {rate:6.1f} images/s"
        self._say(f"  {name:<11}   {times}   (median of {len(runs)})")

    def _only_together(self, error: BaseException) -> str:
        """What a batch did that its images did not do one by one."""
        if isinstance(error, ServerError):  # our own sentence; where it was raised tells nothing
            self._raised.clear()
            return error.sentence
        return "predict raised, though not on the same images one by one"

    def _say(self, line: str) -> None:
        print(line, file=self._out, flush=True)

    def _problem(self, sentence: str) -> None:
        self._problems += 1
        self._say(f"PROBLEM  {sentence}")
        for error in self._raised[:1]:
            trace = _from_author(error.__traceback__)
            for line in "".join(traceback.format_exception(type(error), error, trace)).splitlines():
                self._say(f"    {line}")
        self._raised.clear()


@contextmanager
def _collecting(raised: list[BaseException]) -> Iterator[None]:
    """Gathers the exceptions that a hosted model logs, and keeps them off the log."""

    def gather(record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1]:
            raised.append(record.exc_info[1])
        return False

    log = logging.getLogger("server.model")
    log.addFilter(gather)
    try:
        yield
    finally:
        log.removeFilter(gather)


def _from_author(trace: TracebackType | None) -> TracebackType | None:
    """A traceback without the server's own steps that lead to the author's code."""
    while trace and trace.tb_next:
        if not str(trace.tb_frame.f_globals.get("__name__")).startswith(_OURS):
            break
        trace = trace.tb_next
    return trace


def _repeated(model: HostedModel, batch: Sequence[ImageInput]) -> Iterator[list[Outcome]]:
    start = perf_counter()
    for number in range(RUNS):
        if number and perf_counter() - start > SECONDS:
            break
        outcomes = model.run(batch)
        yield outcomes
        if any(each.error for each in outcomes):
            break


def _gradient() -> bytes:
    file = BytesIO()
    Image.linear_gradient("L").resize((640, 480)).convert("RGB").save(file, "JPEG")
    return file.getvalue()


def _lines(response: dict[str, Any]) -> Iterator[str]:
    """An answer for a person: a line for each annotation, the author's own keys last."""
    annotations = response["annotations"]
    if not annotations:
        yield "nothing found"
    for each in annotations[:SHOWN]:
        yield f"{each['confidence']:6.1%}  {each['label']:<28} {_place(each)}".rstrip()
    if len(annotations) > SHOWN:
        yield f"... and {len(annotations) - SHOWN} more"
    if doubt := _doubt([each for each in annotations if each["type"] == "box"]):
        yield f"note: {doubt}"
    own = set(response) - {"image", "label", "confidence", "annotations"}
    if own:
        yield f"with the keys {', '.join(sorted(own))}"


def _place(annotation: dict[str, Any]) -> str:
    match annotation:
        case {"type": "box", "left": left, "top": top, "right": right, "bottom": bottom}:
            return f"box {left:.0f},{top:.0f} to {right:.0f},{bottom:.0f}"
        case {"type": "polygon", "points": points}:
            return f"polygon of {len(points)} corners"
        case {"type": "mask", "mask": {"counts": counts}}:
            return f"mask of {sum(counts[1::2]):,} pixels"
        case {"type": "point", "x": x, "y": y}:
            return f"point {x:.0f},{y:.0f}"
    return ""


def _doubt(boxes: Sequence[dict[str, Any]]) -> str | None:
    """What boxes look like that are valid but hardly meant."""
    if any(box["right"] < box["left"] or box["bottom"] < box["top"] for box in boxes):
        return "a box ends before it begins; right and bottom are edges, not width and height"
    edges = ("left", "top", "right", "bottom")
    if boxes and all(0 <= box[edge] <= 8 for box in boxes for edge in edges):
        return "all boxes lie in one corner; coordinates are pixels, not parts of 1"
    return None
