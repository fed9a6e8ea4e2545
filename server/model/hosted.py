"""A loaded model and all the server does around one call of it: decode, predict, encode."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

from pydantic import ValidationError

from server.errors import (
    EmptyImageError,
    ModelFailedError,
    ServerError,
    TooManyPixelsError,
    UndecodableImageError,
)
from server.model import memory
from server.model.header import ImageLimits, Size
from server.model.image import decode, too_large
from server.model.loader import load_class
from server.model.results import Frame, ResultError, encode, explain

MAX_MESSAGE: Final = 1_000  # characters of an exception's message that a client sees
logger = logging.getLogger("server.model")


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a model says of itself.

    Attributes:
        name: Its `name`, or else its class's.
        version: Its `version`, if it has one.
        decodes: It has a `decode` of its own: its uploads may be anything.
    """

    name: str
    version: str | None
    decodes: bool = False


@dataclass(frozen=True, slots=True)
class ImageInput:
    """An image to predict: its file and the client's name of it."""

    data: bytes
    name: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one image: either a response or an error.

    Attributes:
        response: The JSON of the wire `response`.
        error: The code of one of `server.errors`.
        sentence: What went wrong.
        decode_ms: Milliseconds of decoding this image.
        predict_ms: Milliseconds of the predict call that answered it, of its whole batch.
    """

    response: bytes | None = None
    error: str | None = None
    sentence: str | None = None
    decode_ms: float = 0.0
    predict_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class _Ready:
    """An image as predict gets it."""

    pixels: Any  # whatever the author's own `decode` returned
    frame: Frame
    decode_ms: float


class HostedModel:
    """One model in one worker; synchronous, for one thread at a time.

    Args:
        spec: Where its class is, as `load_class` reads it.
        limits: What images are decoded, where the model doesn't decode by itself.
    """

    def __init__(self, spec: str, limits: ImageLimits) -> None:
        self._spec = spec
        self._limits = limits
        self._model: Any = None  # the author's: the interface has optional parts
        self._input_size: Size | None = None

    def __reduce__(self) -> tuple[type["HostedModel"], tuple[str, ImageLimits]]:
        return HostedModel, (self._spec, self._limits)  # another process loads its own

    def load(self) -> ModelInfo:
        """Makes the model ready to run.

        Raises:
            ModelSpecError: There is no such model.
            ValueError: An optional attribute of it has a wrong value.
            Exception: What the author's own code raised.
        """
        model = load_class(self._spec)()
        self._input_size = _size(getattr(model, "input_size", None))
        model.load()
        if hasattr(model, "warmup"):
            model.warmup()
        self._model = model
        version = getattr(model, "version", None)
        return ModelInfo(
            name=str(getattr(model, "name", None) or type(model).__name__),
            version=None if version is None else str(version),
            decodes=hasattr(model, "decode"),
        )

    def run(self, inputs: Sequence[ImageInput]) -> list[Outcome]:
        """Answers a batch; a bad image and a raising model only fail the images concerned.

        Args:
            inputs: The images. `load` came before.

        Returns:
            One outcome for each input, in order.
        """
        outcomes: list[Outcome] = []
        while len(outcomes) < len(inputs):
            outcomes += self._run_some(inputs[len(outcomes) :])
        return outcomes

    def _run_some(self, inputs: Sequence[ImageInput]) -> list[Outcome]:
        """Answers as many, from the first on, as there is memory for at once; one at least."""
        prepared: list[_Ready | Outcome] = []
        ready: list[_Ready] = []
        with memory.limited(self._limits.memory):
            for each in inputs:
                one = self._prepare(each)
                if isinstance(one, _Ready):
                    ready.append(one)
                elif ready and one.error == TooManyPixelsError.code:
                    break  # there is more memory once those before it are done
                prepared.append(one)
        answers = iter(self._predict(ready) if ready else [])
        return [next(answers) if isinstance(each, _Ready) else each for each in prepared]

    def _prepare(self, image: ImageInput) -> _Ready | Outcome:
        start = perf_counter()
        try:
            pixels, frame = self._decode(image)
        except ServerError as error:
            return _failed(error, decode_ms=_ms_since(start))
        except MemoryError:
            return _failed(too_large(), decode_ms=_ms_since(start))
        return _Ready(pixels, frame, _ms_since(start))

    def _decode(self, image: ImageInput) -> tuple[Any, Frame]:
        if not hasattr(self._model, "decode"):
            decoded = decode(image.data, self._limits, self._input_size)
            upright = decoded.width, decoded.height
            return decoded.image, Frame(image.name, decoded.image.size, upright)
        if not image.data:
            raise EmptyImageError("The image is empty: it has no bytes.")
        try:
            return self._model.decode(image.data), Frame(image.name)
        except (ServerError, MemoryError):
            raise
        except Exception as error:
            logger.warning("the model's decode raised", exc_info=True)
            raise UndecodableImageError(
                f"The model can't decode the image: {_message(error)}"
            ) from error

    def _predict(self, batch: Sequence[_Ready]) -> list[Outcome]:
        start = perf_counter()
        try:
            results = self._model.predict([each.pixels for each in batch])
        except Exception as error:
            if len(batch) > 1:
                return self._predict_one_by_one(batch, error)
            logger.exception("the model's predict raised")
            failure = ModelFailedError(f"The model raised {_message(error)}")
            return [_failed(failure, batch[0].decode_ms, _ms_since(start))]
        predict_ms = _ms_since(start)
        if complaint := _miscounted(results, len(batch)):
            failure = ModelFailedError(complaint)
            if len(batch) > 1:
                return self._predict_one_by_one(batch, failure)
            return [_failed(failure, batch[0].decode_ms, predict_ms)]
        return [
            _answer(result, each, predict_ms, f"result {number} of {len(batch)}")
            for number, (result, each) in enumerate(zip(results, batch, strict=True), start=1)
        ]

    def _predict_one_by_one(self, batch: Sequence[_Ready], error: Exception) -> list[Outcome]:
        """Finds who is guilty of a whole batch's failure; each that raises logs its traceback."""
        outcomes = [outcome for each in batch for outcome in self._predict([each])]
        if all(each.error is None for each in outcomes):
            logger.warning("predict failed on a batch, not on its images alone", exc_info=error)
        return outcomes


def _answer(result: object, image: _Ready, predict_ms: float, place: str) -> Outcome:
    try:
        response = encode(result, image.frame)
    except ResultError as error:
        failure = ModelFailedError(f"The model's {place} is wrong: {error}")
    except Exception as error:  # of the author's own types in it
        logger.exception("a result of the model can't be read")
        failure = ModelFailedError(f"The model's {place} can't be read: {_message(error)}")
    else:
        return Outcome(response, decode_ms=image.decode_ms, predict_ms=predict_ms)
    return _failed(failure, image.decode_ms, predict_ms)


def _failed(error: ServerError, decode_ms: float, predict_ms: float = 0.0) -> Outcome:
    return Outcome(None, error.code, error.sentence, decode_ms, predict_ms)


def _miscounted(results: object, expected: int) -> str | None:
    """What is wrong with the answer to a batch as a whole."""
    if not isinstance(results, list | tuple):
        kind = type(results).__name__
        return f"The model's predict returned a {kind}; return a list, one result for each image."
    if len(results) != expected:
        found = f"{len(results)} results, but the batch has {expected}"
        return f"The model's predict returned {found}; return one for each image, in order."
    return None


def _message(error: Exception) -> str:
    try:
        text = explain(error) if isinstance(error, ValidationError) else str(error)
    except Exception:  # noqa: BLE001 - the author's own __str__
        text = ""
    name = type(error).__name__
    return f"{name}: {text}"[:MAX_MESSAGE] if text else name


def _size(value: object) -> Size | None:
    """An author's `input_size` as (width, height)."""
    sides = (value, value) if isinstance(value, int) else value
    match sides:
        case None:
            return None
        case [int(width), int(height)] if width > 0 and height > 0:
            return width, height
    raise ValueError(f"input_size is {value!r}; write (width, height) or one number, in pixels")


def _ms_since(start: float) -> float:
    return (perf_counter() - start) * 1_000
