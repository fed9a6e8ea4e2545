"""Uploaded bytes to pixels: what is accepted, and decoding to an upright RGB image."""

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from struct import unpack_from
from typing import IO, Final

import numpy as np
from PIL import ExifTags, Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from server.errors import (
    EmptyImageError,
    ServerError,
    TooManyPixelsError,
    UndecodableImageError,
    UnsupportedImageError,
)

Size = tuple[int, int]  # width, height in pixels
_Factory = Callable[[IO[bytes], str | bytes], ImageFile.ImageFile]
_Accepts = Callable[[bytes], bool | str]


class _Jpeg(JpegImagePlugin.JpegImageFile):
    """A JPEG that opens without a look at its EXIF, which may be broken in a sound image."""

    def _read_dpi_from_exif(self) -> None:
        pass


# Named directly instead of Image.open, which has a pixel limit of its own that only warns at first
# and makes an object that can't be read at a reduced scale of a JPEG with several pictures.
_PLUGINS: Final[dict[str, type[ImageFile.ImageFile]]] = {
    "JPEG": _Jpeg,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}
_TITLES: Final = {"WEBP": "WebP"}
_MAX_SEGMENTS: Final = 2_000  # of a JPEG before its pixels; the longest colour profiles need 300
_BARE_MARKERS: Final = frozenset((0x00, 0x01, *range(0xD0, 0xDA)))  # no length follows
_FRAME_MARKERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
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
_ORIENTATION_KEYS: Final = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")
_SIGNATURES: Final = (  # offset, bytes, what they begin
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (8, b"WEBP", "a WebP image"),
    (0, b"GIF8", "a GIF image"),
    (0, b"II*\0", "a TIFF image"),
    (0, b"MM\0*", "a TIFF image"),
    (4, b"ftypavi", "an AVIF image"),
    (4, b"ftyphe", "a HEIC image"),
    (4, b"ftypmif1", "a HEIC image"),
    (4, b"ftyp", "a video"),
    (0, b"\0\0\0\x0cjP", "a JPEG 2000 image"),
    (0, b"\0\0\0\x0cJXL", "a JPEG XL image"),
    (0, b"%PDF", "a PDF document"),
    (0, b"<svg", "an SVG drawing"),
    (0, b"PK\3\4", "a ZIP archive"),
    (0, b"data:", "text; send the bytes themselves,"),
    (0, b"/9j/", "base64 text; send the bytes themselves,"),
    (0, b"iVBORw0", "base64 text; send the bytes themselves,"),
)


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What images the server takes.

    Attributes:
        formats: Pillow's names of the accepted formats, such as "JPEG"; at least one.
        max_pixels: The most pixels, width x height.
        max_side: The most pixels of one side.

    Raises:
        ValueError: Pillow knows no such format.
    """

    formats: tuple[str, ...] = ("JPEG", "PNG", "WEBP")
    max_pixels: int = 100_000_000
    max_side: int = 65_500

    def __post_init__(self) -> None:
        for name in self.formats:
            try:
                _registered(name)
            except KeyError:
                known = ", ".join(sorted(Image.OPEN))
                raise ValueError(f"{name!r} is no image format; known are {known}") from None


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


def inspect(data: bytes, limits: ImageLimits) -> tuple[str, int, int]:
    """Looks at an image's header only; for JPEG, PNG and WebP in microseconds, whatever the bytes.

    Returns:
        Pillow's name of the format, and width and height as stored, before EXIF orientation.

    Raises:
        EmptyImageError: There are no bytes.
        UnsupportedImageError: They don't begin like any accepted format.
        TooManyPixelsError: The image is larger than accepted.
        UndecodableImageError: Its header is broken.
    """
    name = _format(data, limits)
    try:
        width, height = _stored_size(name, data)
    except Exception as error:
        raise _undecodable(name, "its header is broken") from error
    _check_size(name, (width, height), limits)
    return name, width, height


def decode(data: bytes, limits: ImageLimits, input_size: Size | None = None) -> Decoded:
    """Decodes an image: its first frame, EXIF orientation undone, transparency over white.

    Args:
        data: The file.
        limits: What is accepted; pixels are decoded after they were counted.
        input_size: The (width, height) a model needs at least, of the upright image: a larger
            JPEG is decoded at 1/2, 1/4 or 1/8, each side no less than this, and much faster.

    Raises:
        EmptyImageError, UnsupportedImageError, TooManyPixelsError: As `inspect`.
        UndecodableImageError: It is cut off or corrupt.
    """
    name, _, _ = inspect(data, limits)
    if _QUIET not in warnings.filters:  # again and again: anyone may reset them
        warnings.filterwarnings("ignore", module=_PILLOW)
    try:
        image = _open(name, data)
        width, height = image.size  # of Pillow's own reading, which allocates the memory
        _check_size(name, (width, height), limits)
        if input_size and isinstance(image, _Jpeg):
            turned = _orientation(image) >= 5
            image.draft(None, input_size[::-1] if turned else input_size)
        image.load()
        orientation = _orientation(image)
        upright = _upright(_to_rgb(image), orientation)
    except ServerError:
        raise
    except Exception as error:  # Pillow raises all sorts for broken files
        raise _undecodable(name, str(error)[:200] or type(error).__name__) from error
    return Decoded(upright, *((height, width) if orientation >= 5 else (width, height)))


def _format(data: bytes, limits: ImageLimits) -> str:
    if not data:
        raise EmptyImageError("The image is empty: it has no bytes.")
    for name in limits.formats:
        _, accepts = _registered(name)
        if accepts is None or accepts(data[:16]) is True:
            return name
    *most, last = titles = [_TITLES.get(name, name) for name in limits.formats]
    wanted = f"{', '.join(most)} or {last}" if most else last
    for at, magic, what in _SIGNATURES:
        if data.startswith(magic, at) and not any(title in what for title in titles):
            raise UnsupportedImageError(f"The image is {what}; this server takes {wanted}.")
    raise UnsupportedImageError(f"These bytes are no image this server takes; send {wanted}.")


def _check_size(name: str, size: Size, limits: ImageLimits) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise _undecodable(name, "its header is broken")
    if width * height > limits.max_pixels or max(size) > limits.max_side:
        raise TooManyPixelsError(
            f"The image has {width} x {height} pixels; this server takes {limits.max_pixels:,}"
            f" in all and {limits.max_side:,} a side. Send a smaller one."
        )


def _undecodable(name: str, reason: str) -> UndecodableImageError:
    title = _TITLES.get(name, name)
    return UndecodableImageError(
        f"The {title} image can't be decoded: {reason}. It is cut off or corrupt;"
        " save or send it again."
    )


def _registered(name: str) -> tuple[_Factory, _Accepts | None]:
    """Pillow's way to open a format, and its test for the first 16 bytes."""
    if name not in Image.OPEN:
        Image.init()
    return Image.OPEN[name]


def _open(name: str, data: bytes) -> ImageFile.ImageFile:
    plugin = _PLUGINS.get(name)
    return plugin(BytesIO(data)) if plugin else _registered(name)[0](BytesIO(data), "")


def _stored_size(name: str, data: bytes) -> Size:
    """Width and height from the header.

    Not by Pillow, which walks hostile headers for seconds, and this runs on the event loop.
    """
    match name, data[12:16]:
        case "JPEG", _:
            return _jpeg_size(data)
        case "PNG", b"IHDR":
            width, height = unpack_from(">II", data, 16)
        case "PNG", _:
            raise ValueError("no header chunk")
        case "WEBP", b"VP8X":
            low, high, lower, upper = unpack_from("<HBHB", data, 24)
            width, height = 1 + (low | high << 16), 1 + (lower | upper << 16)
        case "WEBP", b"VP8L":
            (bits,) = unpack_from("<I", data, 21)
            width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case "WEBP", _:
            width, height = (side & 0x3FFF for side in unpack_from("<HH", data, 26))
        case _:
            return _open(name, data).size
    return width, height


def _jpeg_size(data: bytes) -> Size:
    """Walks the segments up to the pixels; only so far, or a hostile file would be a long walk."""
    size, at = (0, 0), 2
    for _ in range(_MAX_SEGMENTS):
        at = data.index(b"\xff", at)
        marker = data[at + 1]
        if marker == 0xDA:  # the pixels begin
            return size
        if marker == 0xFF:
            at += 1
        elif marker in _BARE_MARKERS:
            at += 2
        else:
            if marker in _FRAME_MARKERS:
                height, width = unpack_from(">HH", data, at + 5)
                size = width, height
            at += 2 + int.from_bytes(data[at + 2 : at + 4])
    raise ValueError("too many segments")


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
