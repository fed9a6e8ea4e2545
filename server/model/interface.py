"""What the author of a model meets: the interface to write and the annotations to return."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BeforeValidator, ConfigDict, Field, PlainValidator
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

_CONFIG = ConfigDict(extra="forbid")
_REQUIRED: Any = Field()  # Any: it stands for a default of every type; pydantic refuses absence


def _to_list(value: object) -> object:  # pydantic reads an array ten times as slowly
    return value.tolist() if hasattr(value, "tolist") else value


def _to_mask(value: object) -> NDArray[np.bool_]:
    try:
        array = np.asarray(value)
    except Exception as error:  # whatever the author's own array type raises
        raise PydanticCustomError("mask", "input should be a 2-dimensional array") from error
    if array.ndim != 2 or not array.size or array.dtype.kind not in "biuf":
        raise PydanticCustomError(
            "mask", "input should be a 2-dimensional array of bool or 0 and 1"
        )
    if array.dtype != np.bool_ and not ((array == 0) | (array == 1)).all():
        sentence = "every value should be 0 or 1; compare with a threshold first, as in mask > 0.5"
        raise PydanticCustomError("mask", sentence)
    return array.astype(np.bool_, copy=False)


_Label = Annotated[str, Field(strict=True, min_length=1)]
_Confidence = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
_Pixels = Annotated[float, Field(strict=True, allow_inf_nan=False)]
if TYPE_CHECKING:  # a caller may hand in whatever numpy makes an array of
    _Corners = ArrayLike
    _MaskArray = ArrayLike
else:
    _Corner = tuple[_Pixels, _Pixels]
    _Corners = Annotated[tuple[_Corner, ...], Field(min_length=3), BeforeValidator(_to_list)]
    _MaskArray = Annotated[Any, PlainValidator(_to_mask)]


@dataclass(frozen=True, slots=True, config=_CONFIG)
class _Annotation:
    type: ClassVar[str]
    label: _Label
    confidence: _Confidence = 1.0


@dataclass(frozen=True, slots=True, config=_CONFIG)
class Classification(_Annotation):
    """What the whole image shows.

    Args:
        label: What it is; not empty.
        confidence: How sure the model is, 0 to 1.
    """

    type: ClassVar[str] = "class"


@dataclass(frozen=True, slots=True, config=_CONFIG)
class Box(_Annotation):
    """A thing and the upright rectangle around it.

    Args:
        label, confidence: As in `Classification`.
        left: The left edge, in pixels of the image given; edges may lie outside of it.
        top: The upper edge.
        right: The right edge, not the width.
        bottom: The lower edge, not the height.
    """

    type: ClassVar[str] = "box"
    left: _Pixels = _REQUIRED
    top: _Pixels = _REQUIRED
    right: _Pixels = _REQUIRED
    bottom: _Pixels = _REQUIRED


@dataclass(frozen=True, slots=True, config=_CONFIG)
class Polygon(_Annotation):
    """A thing and its outline.

    Args:
        label, confidence: As in `Classification`.
        points: At least three corners [x, y], in pixels of the image given.
    """

    type: ClassVar[str] = "polygon"
    points: _Corners = _REQUIRED


@dataclass(frozen=True, slots=True, eq=False, config=_CONFIG)  # arrays don't compare to one bool
class Mask(_Annotation):
    """A thing and the pixels that show it.

    Args:
        label, confidence: As in `Classification`.
        mask: Height x width array of bool, or of 0 and 1, of the same size as the image given.
    """

    type: ClassVar[str] = "mask"
    mask: _MaskArray = _REQUIRED


@dataclass(frozen=True, slots=True, config=_CONFIG)
class Point(_Annotation):
    """A thing and one place of it.

    Args:
        label, confidence: As in `Classification`.
        x: Pixels from the left edge of the image given.
        y: Pixels from its upper edge.
    """

    type: ClassVar[str] = "point"
    x: _Pixels = _REQUIRED
    y: _Pixels = _REQUIRED


Annotation = Classification | Box | Polygon | Mask | Point
Result = Annotation | Mapping[str, Any] | Sequence[Annotation | Mapping[str, Any]]


class Model(Protocol):
    """A class that the server can serve: these two methods, plain and synchronous.

    It may also have, all optional:

    - `name: str` and `version: str`, shown in every result; the name defaults to the class's;
    - `decode(self, data: bytes)`, which turns an uploaded file into what `predict` gets, instead
      of the server's decoding; what it raises is answered as an undecodable image;
    - `input_size: int | tuple[int, int]` (width, height), the least size in pixels that `predict`
      needs: larger JPEGs are then decoded at a reduced scale, each side no less than this;
    - `warmup(self)`, called after `load`, for a first slow run.
    """

    def load(self) -> None:
        """Prepares the model; called once in each worker, before anything else."""

    def predict(self, images: list[Any]) -> Sequence[Result]:
        """Answers a batch.

        Args:
            images: One or more PIL images, upright and in mode RGB (any size), or what `decode`
                returned. Any, because `decode` may return anything.

        Returns:
            One result for each image, in order: an annotation, a list of annotations (which may
            be empty), or a dict with the list "annotations" and more keys that are JSON, which
            the answer carries along. An annotation may be a plain dict with the same keys and
            "type": "class", "box", "polygon", "mask" or "point". Coordinates are pixels of the
            image given. numpy's numbers and arrays will do wherever numbers and lists do.

        Raises:
            Exception: Whatever goes wrong; a batch is then tried again image by image, and the
                images that fail alone are answered with the message.
        """
        ...
