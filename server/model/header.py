"""The header of an image: what format it is, how large, and whether it is accepted."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from struct import unpack_from
from typing import IO, Final

from PIL import Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from server.errors import (
    EmptyImageError,
    TooManyPixelsError,
    UndecodableImageError,
    UnsupportedImageError,
)

Size = tuple[int, int]  # width, height in pixels
_Factory = Callable[[IO[bytes], str | bytes], ImageFile.ImageFile]
_Accepts = Callable[[bytes], bool | str]


class JpegFile(JpegImagePlugin.JpegImageFile):
    """A JPEG that opens without a look at its EXIF, which may be broken in a sound image."""

    def _read_dpi_from_exif(self) -> None:
        pass


# Named directly instead of Image.open, which has a pixel limit of its own that only warns at first
# and makes an object that can't be read at a reduced scale of a JPEG with several pictures.
_PLUGINS: Final[dict[str, type[ImageFile.ImageFile]]] = {
    "JPEG": JpegFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}
_TITLES: Final = {"WEBP": "WebP"}
_MAX_SEGMENTS: Final = 2_000  # of a JPEG before its pixels; the longest colour profiles need 300
_BARE_MARKERS: Final = frozenset((0x00, 0x01, *range(0xD0, 0xDA)))  # no length follows
_FRAME_MARKERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
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
        memory: The most bytes that a worker takes to decode them; None: as many as there are.

    Raises:
        ValueError: Pillow knows no such format.
    """

    formats: tuple[str, ...] = ("JPEG", "PNG", "WEBP")
    max_pixels: int = 100_000_000
    max_side: int = 65_500
    memory: int | None = None

    def __post_init__(self) -> None:
        for name in self.formats:
            try:
                _registered(name)
            except KeyError:
                known = ", ".join(sorted(Image.OPEN))
                raise ValueError(f"{name!r} is no image format; known are {known}") from None


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
        raise undecodable(name, "its header is broken") from error
    _check_size(name, (width, height), limits)
    return name, width, height


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
        raise undecodable(name, "its header is broken")
    if width * height > limits.max_pixels or max(size) > limits.max_side:
        raise TooManyPixelsError(
            f"The image has {width} x {height} pixels; this server takes {limits.max_pixels:,}"
            f" in all and {limits.max_side:,} a side. Send a smaller one."
        )


def undecodable(name: str, reason: str) -> UndecodableImageError:
    """The error of an image of that format that can't be decoded."""
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


def open_image(name: str, data: bytes) -> ImageFile.ImageFile:
    """Pillow's image of that format, its pixels not yet decoded."""
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
            return open_image(name, data).size
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
