"""What must hold for every image: the input is its bytes."""

import struct
from collections.abc import Iterator
from io import BytesIO
from typing import Final

from PIL import Image

from server.errors import ServerError
from server.model import image
from server.model.header import ImageLimits, inspect
from tests.hostile.corpus import FAMILIES
from tests.hostile.pictures import PNG, chunk

LIMITS: Final = ImageLimits(max_pixels=250_000)
"""Small, so that larger images are met often, and decoding costs little."""

MAX_SENTENCE: Final = 500
SEED_BYTES: Final = 8_000
TOKENS: Final = (
    *(b"\x89PNG\r\n\x1a\n", b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS", b"acTL", b"fcTL", b"fdAT"),
    *(
        b"iCCP",
        b"zTXt",
        b"iTXt",
        b"eXIf",
        b"gAMA",
        b"sBIT",
        b"\xff\xd8\xff",
        b"\xff\xd9",
        b"\xff\xda",
    ),
    *(b"\xff\xc0", b"\xff\xc2", b"\xff\xc4", b"\xff\xdb", b"\xff\xdd", b"\xff\xe0", b"\xff\xe1"),
    *(b"Exif\0\0MM\0*\0\0\0\x08", b"Exif\0\0II*\0\x08\0\0\0", b"JFIF\0", b"Adobe\0", b"MPF\0"),
    *(b"ICC_PROFILE\0", b"http://ns.adobe.com/xap/1.0/\0", b"Photoshop 3.0\0", b"8BIM"),
    *(b"RIFF", b"WEBP", b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"EXIF", b"XMP "),
    *(struct.pack(">I", number) for number in (0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1)),
)


def seeds() -> Iterator[bytes]:
    """The images of the corpus that are no form."""
    for case in FAMILIES["images"]:
        data = case.sent.partition(b"\r\n\r\n")[2]
        if len(data) < SEED_BYTES:
            yield data


def check(data: bytes) -> bool:
    """Look at an image as the server does, then decode it as a worker does.

    Returns:
        Whether it could be decoded.

    Raises:
        AssertionError: Something does not hold.
        Exception: The server's code raised what it may not raise.
    """
    try:
        name, *size = inspect(data, LIMITS)
    except ServerError as error:
        assert 400 <= error.status < 500
        assert 0 < len(error.sentence) <= MAX_SENTENCE
        assert not _is_sound(data), "Pillow would have taken it"
        return False
    assert name in LIMITS.formats
    assert size[0] * size[1] <= LIMITS.max_pixels
    decoded = _decoded(data)
    if decoded:
        assert decoded.image.mode == "RGB"
        assert decoded.image.size == (decoded.width, decoded.height)
        assert sorted(decoded.image.size) == sorted(size)
        reduced = image.decode(data, LIMITS, (32, 32))
        assert (reduced.width, reduced.height) == (decoded.width, decoded.height)
    return decoded is not None


def _decoded(data: bytes) -> image.Decoded | None:
    """The image as a worker decodes it; None if it is refused, as it should be."""
    try:
        return image.decode(data, LIMITS)
    except ServerError as error:
        assert 400 <= error.status < 500
        assert 0 < len(error.sentence) <= MAX_SENTENCE
        return None


def _is_sound(data: bytes) -> bool:
    """Whether Pillow can read an image of few enough pixels there."""
    if data.startswith(PNG) and (data[12:16] != b"IHDR" or data.count(b"IHDR") > 1):
        return False  # a PNG has one header, its first chunk; Pillow takes others, too
    try:
        with Image.open(BytesIO(data), formats=LIMITS.formats) as opened:
            if opened.width * opened.height > LIMITS.max_pixels:
                return False
            opened.load()
    except Exception:  # noqa: BLE001 - Pillow raises all sorts
        return False
    return True


def mended(data: bytes) -> bytes:
    """A PNG with its checksums put right: broken ones would hide all else that is broken."""
    if not data.startswith(PNG):
        return data
    chunks, at = [PNG], len(PNG)
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4])
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        chunks.append(chunk(kind, content))
        at += 12 + size
    return b"".join(chunks) + data[at:]
