"""Pictures for the corpus: sound ones of every kind, and the pieces of broken ones."""

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import Any, Final

import numpy as np
from PIL import Image

PNG: Final = b"\x89PNG\r\n\x1a\n"
SIZE: Final = (40, 30)


def saved(format_: str, mode: str = "RGB", **options: Any) -> bytes:
    """A sound picture of noise."""
    file = BytesIO()
    noise = np.random.default_rng(1).integers(0, 256, (*SIZE[::-1], 3), np.uint8)
    Image.fromarray(noise).convert(mode).save(file, format_, **options)
    return file.getvalue()


def animated(format_: str, number: int = 2) -> bytes:
    """A picture of several frames, two of which are different."""
    frames = [Image.new("RGB", SIZE, ("red", "blue")[each % 2]) for each in range(number)]
    file = BytesIO()
    frames[0].save(file, format_, save_all=True, append_images=frames[1:], duration=100)
    return file.getvalue()


def sixteen_bit() -> bytes:
    file = BytesIO()
    Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50).save(file, "PNG")
    return file.getvalue()


def chunk(kind: bytes, content: bytes = b"", *, crc: int | None = None) -> bytes:
    """A chunk of a PNG."""
    sum_ = zlib.crc32(kind + content) if crc is None else crc
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", sum_)


def header(width: int = 40, height: int = 30, depth: int = 8, colour: int = 2, **bad: int) -> bytes:
    """The beginning of a PNG."""
    rest = bytes((depth, colour, bad.get("compression", 0), bad.get("filter_", 0), 0))
    return PNG + chunk(b"IHDR", struct.pack(">II", width, height) + rest)


def pixels(data: bytes = bytes(30 * 121)) -> bytes:
    return chunk(b"IDAT", zlib.compress(data))


END: Final = chunk(b"IEND")


def png(*middle: bytes, **head: int) -> bytes:
    """A PNG of these chunks, its pixels behind them."""
    return header(**head) + b"".join(middle) + pixels() + END


def zeros(megabytes: int) -> bytes:
    """So many megabytes, compressed."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(megabytes)) + packer.flush()


def segment(marker: int, content: bytes) -> bytes:
    """A segment of a JPEG."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def within(jpeg: bytes, *segments: bytes) -> bytes:
    """The JPEG with these segments in front of its own."""
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def sized_jpeg(width: int, height: int) -> bytes:
    """A JPEG that says it is of that size."""
    jpeg = saved("JPEG")
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


def riff(*chunks: tuple[bytes, bytes], size: int | None = None) -> bytes:
    """A WebP of these chunks."""
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


def canvas(width: int, height: int, flags: int = 0) -> tuple[bytes, bytes]:
    """The header of an extended WebP."""
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"VP8X", bytes((flags, 0, 0, 0)) + sides


def cuts(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The file cut at some of its lengths."""
    for title, length in {
        "one byte": 1, "8 bytes": 8, "12 bytes": 12, "20 bytes": 20, "30 bytes": 30,
        "a half": len(data) // 2, "nine tenths": len(data) * 9 // 10,
    }.items():  # fmt: skip
        yield title, data[:length]
