"""Real photos for tests, and one of them in every shape that a client may send it."""

from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

MARGIN = 40  # white, on the left: where the variants with transparency are black and transparent
KEY = (0, 255, 1)  # a colour no photo has
STORED_AS = {  # EXIF orientation: how an upright image is stored under it
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def photo(name: str) -> Path:
    """A photo of the scikit-image distribution, such as chelsea.png, a cat."""
    spec = find_spec("skimage")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "data" / name


@cache
def upright() -> Image.Image:
    """The cat with a white margin on its left: what every variant shows when decoded."""
    with Image.open(photo("chelsea.png")) as cat:
        framed = Image.new("RGB", (cat.width + MARGIN, cat.height), "white")
        framed.paste(cat, (MARGIN, 0))
    return framed


@cache
def variants() -> dict[str, bytes]:
    """File names and files that all show `upright()`; those with "grey" in the name, in grey."""
    return {
        **{f"orientation-{n}.jpg": _turned("JPEG", n, quality=92) for n in range(1, 9)},
        **{f"orientation-{n}.webp": _turned("WEBP", n, quality=92) for n in range(1, 9)},
        **{f"orientation-{n}.png": _turned("PNG", n) for n in (3, 6)},
        "progressive.jpg": _turned("JPEG", 8, progressive=True),
        "cmyk.jpg": _file(upright().convert("CMYK"), "JPEG"),
        "grey.jpg": _file(upright().convert("L"), "JPEG"),
        "plain.webp": _file(upright(), "WEBP", quality=92),
        "animated.webp": _file(upright(), "WEBP", **_second_frame()),
        "animated.png": _file(upright(), "PNG", **_second_frame()),
        "rgba.webp": _file(_rgba(), "WEBP", lossless=True),
        "rgba.png": _file(_rgba(), "PNG"),
        "colour-key.png": _file(_with_margin(upright(), KEY), "PNG", transparency=KEY),
        "palette.png": _file(upright().quantize(256), "PNG"),
        "palette-transparent.png": _transparent_palette(),
        "grey.png": _file(upright().convert("L"), "PNG"),
        "grey-alpha.png": _file(_rgba().convert("LA"), "PNG"),
        "grey-1-bit.png": _file(upright().convert("1"), "PNG"),
        "grey-16-bit.png": _file(_sixteen_bit(), "PNG"),
    }


def _file(image: Image.Image, format_: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def _turned(format_: str, orientation: int, **options: Any) -> bytes:
    stored = upright()
    if orientation in STORED_AS:
        stored = stored.transpose(STORED_AS[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    return _file(stored, format_, exif=exif, **options)


def _second_frame() -> dict[str, Any]:
    return {"save_all": True, "append_images": [ImageOps.invert(upright())], "duration": 100}


def _with_margin(image: Image.Image, colour: Any) -> Image.Image:
    changed = image.copy()
    changed.paste(colour, (0, 0, MARGIN, image.height))
    return changed


def _rgba() -> Image.Image:
    return _with_margin(upright().convert("RGBA"), (0, 0, 0, 0))


def _transparent_palette() -> bytes:
    image = _with_margin(upright().quantize(255), 255)
    colours = (image.getpalette() or [])[: 255 * 3]
    image.putpalette([*colours, *[0] * (255 * 3 - len(colours)), 0, 0, 0])
    return _file(image, "PNG", transparency=255)


def _sixteen_bit() -> Image.Image:
    return Image.fromarray(np.asarray(upright().convert("L")).astype(np.uint16) * 257)
