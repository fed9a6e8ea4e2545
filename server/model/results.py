"""A model's result for one image: its validation and the `response` on the wire it becomes."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, cast

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from server.model.interface import Annotation, Box, Classification, Mask, Point, Polygon

__all__ = [
    "Annotation",
    "Box",
    "Classification",
    "Frame",
    "Mask",
    "Point",
    "Polygon",
    "ResultError",
    "encode",
    "explain",
]

MAX_RESPONSE_BYTES: Final = 16 * 1024 * 1024
_OWN_KEYS: Final = ("image", "label", "confidence")  # of a response: the server fills them in
_CLASSES: Final = (Classification, Box, Polygon, Mask, Point)
_BY_NAME: Final = {each.__name__: each for each in _CLASSES}
_FROM_DICT: Final = {each.type: TypeAdapter[Annotation](each) for each in _CLASSES}
_ACCEPTED: Final = 'an annotation, a list of annotations, or a dict with a list "annotations"'


class ResultError(ValueError):
    """A model's result is none; the sentence tells the model's author which part and why."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The image a result speaks of.

    Attributes:
        name: The client's file name.
        given: (width, height) in pixels of what `predict` got; None when the author decoded it.
        upright: (width, height) of the upright original; None when the author decoded it.
    """

    name: str
    given: tuple[int, int] | None = None
    upright: tuple[int, int] | None = None

    @property
    def scale(self) -> tuple[float, float]:
        """What turns pixels of the image given into pixels of the upright original: (x, y)."""
        if self.given is None or self.upright is None:
            return 1.0, 1.0
        return self.upright[0] / self.given[0], self.upright[1] / self.given[1]


def encode(result: object, frame: Frame, *, max_bytes: int = MAX_RESPONSE_BYTES) -> bytes:
    """Turns a model's result for one image into the JSON of the wire `response`.

    Coordinates come out in pixels of the upright original and are not clamped to it.

    Args:
        result: An annotation, a list or tuple of them, or a dict with the list "annotations" and
            more keys of the author's, which are carried along as they are. Each annotation may be
            a dict with the same keys and "type".
        frame: The image.
        max_bytes: The largest JSON that is accepted.

    Raises:
        ResultError: The result is none of these, or too large.
    """
    found, extra = _split(result)
    annotations = [_annotation(each, f"annotations[{n}]") for n, each in enumerate(found)]
    classes = [each for each in annotations if each.type == "class"]
    best = max(classes or annotations, key=lambda each: each.confidence, default=None)
    response = {
        "image": frame.name.encode(errors="replace").decode(),
        "label": best and best.label,
        "confidence": best and best.confidence,
        "annotations": _wire_all(annotations, frame, max_bytes),
        **extra,
    }
    encoded = orjson.dumps(response, option=orjson.OPT_SERIALIZE_NUMPY)
    if len(encoded) > max_bytes:
        raise _too_large(max_bytes)
    return encoded


def explain(error: ValidationError) -> str:
    """What is wrong with an annotation, such as "confidence: input should be … (got 1.7)"."""
    first = error.errors(include_url=False)[0]
    owner = _BY_NAME.get(error.title)
    place = list(first["loc"])
    if owner and place and isinstance(place[0], int):  # a positional argument
        place[0] = fields(owner)[place[0]].name
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    if owner and first["type"] == "unexpected_keyword_argument":
        keys = ", ".join(field.name for field in fields(owner))
        return f"{path}: a {owner.type} has no such key (its keys are {keys})".lstrip(".")
    if first["type"] == "missing":
        return f"{path}: is missing".lstrip(".")
    message = first["msg"][0].lower() + first["msg"][1:]
    return f"{path}: {message} (got {_short(first['input'])})".lstrip(".")


def _split(result: object) -> tuple[Iterable[object], dict[str, orjson.Fragment]]:
    """The annotations and the author's own keys of a result."""
    if isinstance(result, _CLASSES):
        return (result,), {}
    if isinstance(result, list | tuple):
        return result, {}
    if not isinstance(result, Mapping):
        raise ResultError(f"it is {_short(result)}; return {_ACCEPTED}")
    if "annotations" not in result:
        return (result,), {}
    found = result["annotations"]
    if not isinstance(found, list | tuple):
        raise ResultError(f"annotations: input should be a list (got {_short(found)})")
    return found, {key: _json(key, result[key]) for key in result if key != "annotations"}


def _json(key: object, value: object) -> orjson.Fragment:
    if not isinstance(key, str) or key in _OWN_KEYS:
        raise ResultError(f"the key {_short(key)} is not free; use another name (a string)")
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, default=_to_json)
        return orjson.Fragment(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise ResultError(f"{key}: it can't be written as JSON: {error}") from error


def _to_json(value: object) -> object:
    if not hasattr(value, "tolist"):
        raise TypeError(f"{type(value).__name__} is no JSON type")
    return value.tolist()


def _annotation(value: object, path: str) -> Annotation:
    if isinstance(value, _CLASSES):
        return value
    if not isinstance(value, Mapping):
        raise ResultError(f"{path}: input should be an annotation or a dict (got {_short(value)})")
    kind = value.get("type", "class")
    if not isinstance(kind, str) or kind not in _FROM_DICT:
        known = ", ".join(_FROM_DICT)
        raise ResultError(f"{path}.type: input should be one of {known} (got {_short(kind)})")
    try:
        return _FROM_DICT[kind].validate_python({k: v for k, v in value.items() if k != "type"})
    except ValidationError as error:
        raise ResultError(f"{path}.{explain(error)}") from error


def _wire_all(annotations: list[Annotation], frame: Frame, max_bytes: int) -> list[dict[str, Any]]:
    wire, room = [], max_bytes
    for number, each in enumerate(annotations):
        try:
            wire.append(_wire(each, frame))
        except ResultError as error:
            raise ResultError(f"annotations[{number}].{error}") from error
        if isinstance(each, Mask):  # stop before many large masks fill the memory
            room -= 2 * len(wire[-1]["mask"]["counts"])
            if room < 0:
                raise _too_large(max_bytes)
    return wire


def _wire(annotation: Annotation, frame: Frame) -> dict[str, Any]:
    """One annotation on the wire, in pixels of the upright original."""
    across, down = frame.scale
    wire: dict[str, Any] = {
        "type": annotation.type,
        "label": annotation.label,
        "confidence": annotation.confidence,
    }
    match annotation:
        case Box():
            wire |= {"left": annotation.left * across, "top": annotation.top * down}
            wire |= {"right": annotation.right * across, "bottom": annotation.bottom * down}
        case Polygon():
            points = cast("tuple[tuple[float, float], ...]", annotation.points)
            wire["points"] = [(x * across, y * down) for x, y in points]
        case Mask():
            wire["mask"] = _run_lengths(_columns(cast("NDArray[np.bool_]", annotation.mask), frame))
        case Point():
            wire |= {"x": annotation.x * across, "y": annotation.y * down}
    return wire


def _columns(mask: NDArray[np.bool_], frame: Frame) -> NDArray[np.bool_]:
    """The mask column by column at the upright original's size: each takes its nearest pixel."""
    height, width = mask.shape
    columns = np.ascontiguousarray(mask.T)
    if frame.given is None or frame.upright is None:
        return columns
    if (width, height) != frame.given:
        size = "{} x {}".format(*frame.given)
        raise ResultError(f"mask: it is {width} x {height} pixels, the image given is {size}")
    if frame.given == frame.upright:
        return columns
    wide, high = frame.upright
    columns = columns.take(np.arange(high) * height // high, axis=1)
    upright: NDArray[np.bool_] = columns.take(np.arange(wide) * width // wide, axis=0)
    return upright


def _run_lengths(columns: NDArray[np.bool_]) -> dict[str, Any]:
    """COCO's uncompressed RLE: lengths of runs down the columns, the first one of zeros."""
    flat = columns.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(edges, prepend=0, append=flat.size)
    if flat[0]:
        counts = np.insert(counts, 0, 0)
    return {"size": columns.shape[::-1], "counts": counts}


def _too_large(max_bytes: int) -> ResultError:
    size = f"{max_bytes / 2**20:.4g} MiB"
    return ResultError(f"its JSON is larger than {size}; return fewer or simpler annotations")


def _short(value: object) -> str:
    """A few words for any value, however large or badly behaved."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - the author's own __repr__
        text = type(value).__name__
    return text if len(text) <= 80 else f"{text[:77]}..."
