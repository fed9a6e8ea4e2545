"""What a model found in an image: read from its answer, checked, clamped to the image."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from tools.dataloop.errors import ItemError

Kind = Literal["class", "box", "polygon", "mask", "point"]
Points = tuple[tuple[float, float], ...]
Pixels = NDArray[np.uint8]
Wire = Mapping[str, Any]  # Any: as JSON has it
TURNED: Final = range(5, 9)  # EXIF orientations that lie on their side
ORIENTATION: Final = 0x0112


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the model found.

    Attributes:
        confidence: 0 to 1.
        points: Pixels of the upright image as (x, y): a box's left top and right bottom, a
            polygon's corners, a point; none of a class or a mask.
        mask: Of a mask, 0 and 1: height x width of the upright image.
    """

    kind: Kind
    label: str
    confidence: float
    points: Points = ()
    mask: Pixels | None = None

    def place(self) -> str:
        """Where it is, in a few words."""
        if self.mask is not None:
            return f"{int(self.mask.sum()):,} pixels"
        shown = [f"{x:g},{y:g}" for x, y in self.points]
        return " ".join(shown if len(shown) <= 4 else [*shown[:3], f"... {len(shown)} points"])


@dataclass(frozen=True, slots=True)
class Frame:
    """The size of the upright image, in pixels."""

    width: int
    height: int

    @classmethod
    def of(cls, data: bytes) -> "Frame":
        """The frame that an image file is displayed in.

        Raises:
            ItemError: It is no image whose size can be told.
        """
        try:
            with Image.open(BytesIO(data)) as image:
                width, height = image.size
                turned = image.getexif().get(ORIENTATION) in TURNED
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
            raise ItemError("the file is no image whose size can be told") from error
        return cls(height, width) if turned else cls(width, height)

    def clamp(self, x: float, y: float) -> tuple[float, float]:
        """The nearest place within the image, its border included."""
        return min(max(x, 0.0), float(self.width)), min(max(y, 0.0), float(self.height))


def read(response: Wire, frame: Frame) -> tuple[list[Finding], list[str]]:
    """The findings of a server's response, and a note for each that lies outside the image.

    A response without annotations, but with a label, is a class.

    Raises:
        ItemError: An annotation is none; the sentence says which and why.
    """
    found = response.get("annotations")
    if not found and isinstance(response.get("label"), str):
        found = [{"type": "class", **{k: response.get(k) for k in ("label", "confidence")}}]
    if found is None and "label" not in response:
        raise ItemError("the server's response has neither annotations nor a label")
    if not isinstance(found or [], list):
        raise ItemError("the annotations of the server's response are no list")
    findings, notes = [], []
    for number, each in enumerate(found or []):
        try:
            finding = _read(each, frame)
        except _WrongError as error:
            raise ItemError(f"annotations[{number}] of the server's response: {error}") from error
        if finding:
            findings.append(finding)
        else:
            kind, label = each["type"], each["label"]
            notes.append(f"a {kind} of {label} covers nothing of the image: left out")
    return findings, notes


class _WrongError(Exception):
    """An annotation is none; what is wrong with it."""


def _read(wire: object, frame: Frame) -> Finding | None:
    """A finding; None: nothing of it lies in the image."""
    if not isinstance(wire, dict):
        raise _WrongError("it is no object")
    shape = _SHAPES.get(str(wire.get("type")))
    if shape is None:
        raise _WrongError(f"its type is {wire.get('type')!r}; known: {', '.join(_SHAPES)}")
    label = wire.get("label")
    if not isinstance(label, str) or not label:
        raise _WrongError(f"its label is {label!r}")
    confidence = 1.0 if wire.get("confidence") is None else _number(wire, "confidence")
    if not 0 <= confidence <= 1:
        raise _WrongError(f"its confidence is {confidence:g}, not between 0 and 1")
    return shape(wire, label, confidence, frame)


def _class(_: Wire, label: str, confidence: float, __: Frame) -> Finding | None:
    return Finding("class", label, confidence)


def _box(wire: Wire, label: str, confidence: float, frame: Frame) -> Finding | None:
    left, top, right, bottom = (_number(wire, key) for key in ("left", "top", "right", "bottom"))
    if right < left or bottom < top:
        raise _WrongError("its right or bottom lies before its left or top")
    points = frame.clamp(left, top), frame.clamp(right, bottom)
    (left, top), (right, bottom) = points
    return Finding("box", label, confidence, points) if right > left and bottom > top else None


def _polygon(wire: Wire, label: str, confidence: float, frame: Frame) -> Finding | None:
    given = wire.get("points")
    if not isinstance(given, list) or len(given) < 3:
        raise _WrongError("its points are no list of three or more [x, y]")
    points = tuple(frame.clamp(*_pair(each, n)) for n, each in enumerate(given))
    return Finding("polygon", label, confidence, points) if _area(points) > 0 else None


def _point(wire: Wire, label: str, confidence: float, frame: Frame) -> Finding | None:
    place = frame.clamp(_number(wire, "x"), _number(wire, "y"))
    return Finding("point", label, confidence, (place,))


def _mask(wire: Wire, label: str, confidence: float, frame: Frame) -> Finding | None:
    """COCO's run lengths: down the columns, the first run of zeros."""
    given = wire.get("mask")
    size, counts = (given.get("size"), given.get("counts")) if isinstance(given, dict) else (0, 0)
    if not isinstance(counts, list) or not all(type(n) is int and n >= 0 for n in counts):
        raise _WrongError("its mask has no run lengths: {size: [height, width], counts: [...]}")
    if size != [frame.height, frame.width]:
        raise _WrongError(
            f"its mask is {size}, height and width; the image {[frame.height, frame.width]}"
        )
    if sum(counts) != frame.height * frame.width:
        raise _WrongError("the run lengths of its mask do not add up to its size")
    runs = np.arange(len(counts), dtype=np.uint8) % 2
    columns = np.repeat(runs, counts).reshape(frame.width, frame.height)
    return Finding("mask", label, confidence, mask=columns.T) if columns.any() else None


_SHAPES: Final[Mapping[str, Callable[[Wire, str, float, Frame], Finding | None]]] = {
    "class": _class,
    "box": _box,
    "polygon": _polygon,
    "mask": _mask,
    "point": _point,
}


def _number(wire: Wire, key: str) -> float:
    return _finite(wire.get(key), f"its {key}")


def _pair(given: object, number: int) -> tuple[float, float]:
    if not isinstance(given, list) or len(given) != 2:
        raise _WrongError(f"its points[{number}] is no [x, y]")
    return _finite(given[0], f"x of its points[{number}]"), _finite(
        given[1], f"y of its points[{number}]"
    )


def _finite(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _WrongError(f"{what} is {'missing' if value is None else value!r}, not a number")
    return float(value)


def _area(points: Sequence[tuple[float, float]]) -> float:
    """Square pixels within a polygon."""
    x, y = np.asarray(points).T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2
