"""Decoding: an uploaded image's bytes to an upright RGB image."""

import re
import warnings
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import ExifTags, Image

from server.errors import ServerError, TooManyPixelsError
from server.model.header import (
    ImageLimits,
    JpegFile,
    Size,
    inspect,
    open_image,
    undecodable,
)

_PILLOW: Final = r"PIL\."
_QUIET: Final = ("ignore", None, Warning, re.compile(_PILLOW), 0)
_UPRIGHT: Final = {  # EXIF orientation: what undoes it
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BYTES_PER_PIXEL: Final = 8
"""What decoding may well take: the pixels as they are stored, and in RGB."""

_ORIENTATION_KEYS: Final = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image ready for a model.

    Attributes:
        image: Upright, mode RGB; at a reduced scale where `decode` was allowed to.
        width: Of the upright original, in pixels.
        height: Of the upright original, in pixels.
    """

    image: Image.Image
    width: int
    height: int


def decode(data: bytes, limits: ImageLimits, input_size: Size | None = None) -> Decoded:
    """Decodes an image: its first frame, EXIF orientation undone, transparency over white.

    Args:
        data: The file.
        limits: What is accepted; pixels are decoded after they were counted.
        input_size: The (width, height) a model needs at least, of the upright image: a larger
            JPEG is decoded at 1/2, 1/4 or 1/8, each side no less than this, and much faster.

    Raises:
        EmptyImageError, UnsupportedImageError, TooManyPixelsError: As `inspect`; the last also if
            there is too little memory.
        UndecodableImageError: It is cut off or corrupt.
    """
    name, width, height = inspect(data, limits)
    if _QUIET not in warnings.filters:  # again and again: anyone may reset them
        warnings.filterwarnings("ignore", module=_PILLOW)
    try:
        image = open_image(name, data)
        _check_size(name, image, (width, height))
        if input_size and isinstance(image, JpegFile):
            turned = _orientation(image) >= 5
            image.draft(None, input_size[::-1] if turned else input_size)
        image.load()
        orientation = _orientation(image)
        upright = _upright(_to_rgb(image), orientation)
    except ServerError:
        raise
    except Exception as error:  # Pillow raises all sorts for broken files
        if _is_too_large((width, height), error, limits.memory):
            raise too_large() from error
        raise undecodable(name, str(error)[:200] or type(error).__name__) from error
    return Decoded(upright, *((height, width) if orientation >= 5 else (width, height)))


def too_large() -> TooManyPixelsError:
    """The error of an image for which there is too little memory."""
    return TooManyPixelsError(
        "The image takes more memory than this server decodes with, or is corrupt."
        " Send a smaller one, or a JPEG."
    )


def _is_too_large(size: Size, error: Exception, memory: int | None) -> bool:
    """Whether decoding failed for lack of memory. Not all libraries say so, but large images do."""
    return isinstance(error, MemoryError) or (
        memory is not None and size[0] * size[1] * _BYTES_PER_PIXEL > memory
    )


def _check_size(name: str, image: Image.Image, size: Size) -> None:
    """See that Pillow, which allocates the memory, read the size that was found small enough."""
    if image.size != size:
        raise undecodable(name, "it has headers of different sizes")


def _orientation(image: Image.Image) -> int:
    """1 to 8, as EXIF has it; 1, upright, when there is none or it is broken."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
        known = value in _UPRIGHT
    except Exception:  # noqa: BLE001 - a broken note about the image is no broken image
        return 1
    return value if known else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    for key in _ORIENTATION_KEYS:  # or a model that looks for itself would turn it once more
        image.info.pop(key, None)
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _to_grey(image)
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    layer = image.convert("RGBA")
    flat = Image.new("RGB", layer.size, "white")
    flat.paste(layer, mask=layer)
    flat.info = layer.info
    return flat


def _to_grey(image: Image.Image) -> Image.Image:
    """The upper 8 of 16 bits, where Pillow would clip; floats are 0 to 1 or else 0 to 255."""
    levels = np.asarray(image)
    if image.mode == "F":
        levels = np.nan_to_num(levels * (255 if levels.max() <= 1 else 1)).clip(0, 255)
    else:
        levels = levels.clip(0, 65535) >> 8
    return Image.fromarray(levels.astype(np.uint8))
