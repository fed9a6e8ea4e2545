import struct
import time
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from server.errors import (
    EmptyImageError,
    ServerError,
    TooManyPixelsError,
    UndecodableImageError,
    UnsupportedImageError,
)
from server.model.header import ImageLimits, inspect
from server.model.image import decode
from tests.photos import STORED_AS, photo, upright, variants

LIMITS = ImageLimits()
PNG = b"\x89PNG\r\n\x1a\n"
TOLERANCE = 3  # of 255; a wrong orientation is off by 30 and more
formats = pytest.mark.parametrize("name", ["orientation-6.jpg", "rgba.png", "orientation-6.webp"])


def thumbnail(image: Image.Image) -> np.ndarray:
    return np.asarray(image.resize((49, 30), Image.Resampling.BOX).convert("RGB")).astype(int)


def difference(image: Image.Image, other: Image.Image) -> float:
    return float(abs(thumbnail(image) - thumbnail(other)).mean())


def encoded(image: Image.Image, format_: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png_header(width: int, height: int) -> bytes:
    return PNG + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))


@pytest.mark.parametrize("name", variants())
def test_every_variant_of_a_photo_is_decoded_to_the_same_upright_rgb_image(name: str) -> None:
    decoded = decode(variants()[name], LIMITS)
    expected = upright().convert("L") if "grey" in name else upright()
    assert decoded.image.mode == "RGB"
    assert (decoded.width, decoded.height) == decoded.image.size == upright().size
    assert difference(decoded.image, expected) < TOLERANCE
    assert not decoded.image.has_transparency_data


@pytest.mark.parametrize("turn", list(Image.Transpose))
def test_the_comparison_would_see_a_wrong_orientation(turn: Image.Transpose) -> None:
    assert difference(upright().transpose(turn), upright()) > 5 * TOLERANCE


@pytest.mark.parametrize("name", variants())
def test_a_header_tells_format_and_stored_size(name: str) -> None:
    with Image.open(BytesIO(variants()[name])) as image:
        assert inspect(variants()[name], LIMITS) == (image.format, *image.size)


@pytest.mark.parametrize("name", ["orientation-6.jpg", "orientation-6.png", "orientation-6.webp"])
def test_a_model_that_looks_at_exif_itself_does_not_turn_the_image_again(name: str) -> None:
    image = decode(variants()[name], LIMITS).image
    assert ImageOps.exif_transpose(image).size == upright().size
    assert "exif" not in image.info


def test_an_orientation_that_follows_the_pixels_of_a_png_counts() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    plain = encoded(upright().transpose(STORED_AS[3]), "PNG")
    late = plain[:-12] + chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")) + plain[-12:]
    assert difference(decode(late, LIMITS).image, upright()) < TOLERANCE


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_large_jpeg_is_reduced_while_each_side_suffices(orientation: int) -> None:
    decoded = decode(variants()[f"orientation-{orientation}.jpg"], LIMITS, (200, 60))
    assert (decoded.width, decoded.height) == upright().size
    assert decoded.image.size == (246, 150)  # a half; a quarter would be too narrow
    assert difference(decoded.image, upright()) < TOLERANCE


@pytest.mark.parametrize(
    ("name", "input_size"),
    [("orientation-1.jpg", (300, 100)), ("orientation-1.jpg", (9999, 9999)), ("rgba.png", (8, 8))],
)
def test_an_image_that_cannot_be_reduced_comes_whole(
    name: str, input_size: tuple[int, int]
) -> None:
    assert decode(variants()[name], LIMITS, input_size).image.size == upright().size


def test_a_jpeg_with_a_second_picture_is_reduced_too() -> None:
    pair = encoded(upright(), "MPO", save_all=True, append_images=[ImageOps.invert(upright())])
    decoded = decode(pair, LIMITS, (200, 60))
    assert decoded.image.size == (246, 150)
    assert difference(decoded.image, upright()) < TOLERANCE


@pytest.mark.parametrize(
    ("levels", "white"),
    [
        (np.array([[0, 257, 32768, 65535]], np.uint16), 255),
        (np.array([[0, 257, 32768, 65535]], np.int32), 255),
        (np.array([[0, 1 / 255, 0.502, 1]], np.float32), 255),
        (np.array([[0, 1, 128, 300]], np.float32), 255),
    ],
)
def test_deep_grey_is_scaled_not_clipped(levels: np.ndarray, white: int) -> None:
    tiff = encoded(Image.fromarray(levels), "TIFF")
    pixels = np.asarray(decode(tiff, ImageLimits(formats=("TIFF",))).image)
    assert pixels[0, :, 0].tolist() == [0, 1, 128, white]


@formats
def test_a_truncated_image_is_undecodable(name: str) -> None:
    data = variants()[name]
    with pytest.raises(UndecodableImageError, match=r"cut off or corrupt"):
        decode(data[: len(data) // 2], LIMITS)


@formats
def test_an_image_of_a_few_bytes_has_a_broken_header(name: str) -> None:
    with pytest.raises(UndecodableImageError, match=r"header is broken"):
        inspect(variants()[name][:20], LIMITS)


def test_an_image_without_bytes_is_empty() -> None:
    with pytest.raises(EmptyImageError):
        inspect(b"", LIMITS)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (
            encoded(Image.new("L", (4, 4)), "GIF"),
            "a GIF image; this server takes JPEG, PNG or WebP",
        ),
        (encoded(Image.new("L", (4, 4)), "AVIF"), "an AVIF image"),
        (photo("multipage.tif").read_bytes(), "a TIFF image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC image"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"/9j/4AAQSkZJRgABAQ", "base64 text; send the bytes themselves"),
        (b"<!doctype html><html>", "no image this server takes; send JPEG, PNG or WebP"),
        (b"RIFF\0\0\0\0WEBPnope", "no image this server takes"),
    ],
)
def test_bytes_of_no_accepted_format_are_named(data: bytes, sentence: str) -> None:
    with pytest.raises(UnsupportedImageError, match=sentence):
        decode(data, LIMITS)


def test_a_format_that_is_not_accepted_is_refused_by_its_bytes() -> None:
    with pytest.raises(UnsupportedImageError, match=r"a PNG image; this server takes JPEG\."):
        decode(variants()["rgba.png"], ImageLimits(formats=("JPEG",)))


def test_a_format_that_pillow_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'JPG' is no image format; known are .*JPEG"):
        ImageLimits(formats=("JPG",))


@pytest.mark.parametrize("size", [(20_000, 20_000), (70_000, 10), (2**31, 2**31)])
def test_a_decompression_bomb_is_refused_by_its_header(size: tuple[int, int]) -> None:
    for look in (inspect, decode):
        with pytest.raises(TooManyPixelsError, match=f"{size[0]} x {size[1]} pixels"):
            look(png_header(*size), LIMITS)


def test_the_limit_is_ours_alone_and_pillow_does_not_warn() -> None:
    large = png_header(14_000, 14_000) + chunk(b"IDAT", b"")  # Pillow's own limit is 179 million
    with pytest.raises(UndecodableImageError, match="truncated"):
        decode(large, ImageLimits(max_pixels=200_000_000))


def test_an_image_of_exactly_the_limits_is_taken() -> None:
    data, (width, height) = variants()["rgba.png"], upright().size
    assert decode(data, ImageLimits(max_pixels=width * height, max_side=width)).width == width
    for limits in (ImageLimits(max_pixels=width * height - 1), ImageLimits(max_side=width - 1)):
        with pytest.raises(TooManyPixelsError):
            inspect(data, limits)


@pytest.mark.parametrize(
    "hostile",
    [
        b"\xff\xd8" + b"\xff\xe5\0\2" * 4_000_000,
        b"\xff\xd8\xff" + b"\xff" * 16_000_000,
        b"\xff\xd8\xff\xe0\0\2" + b"\0" * 16_000_000,
        PNG + chunk(b"abCd", b"") * 1_000_000,
    ],
    ids=["segments", "fill", "junk", "chunks"],
)
def test_a_hostile_header_does_not_hold_up_the_event_loop(hostile: bytes) -> None:
    start = time.perf_counter()
    with pytest.raises(UndecodableImageError):
        inspect(hostile, LIMITS)
    assert time.perf_counter() - start < 0.1  # Pillow takes seconds


def test_an_invalid_animation_is_shown_without_a_warning() -> None:
    plain = encoded(upright(), "PNG")
    animated = plain[:33] + chunk(b"acTL", struct.pack(">II", 0, 0)) + plain[33:]
    assert difference(decode(animated, LIMITS).image, upright()) < TOLERANCE


# One mutation, of a small file of each kind
seeds = {
    "JPEG": encoded(upright().resize((64, 40)), "JPEG"),
    "progressive": encoded(upright().resize((64, 40)), "JPEG", progressive=True),
    "PNG": encoded(upright().resize((64, 40)), "PNG"),
    "palette": encoded(upright().resize((64, 40)).quantize(16), "PNG", transparency=3),
    "WebP": encoded(upright().resize((64, 40)).convert("RGBA"), "WEBP"),
}
changes = st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=8)


@given(st.sampled_from(sorted(seeds)), changes, st.integers(0, 4000))
@settings(max_examples=400, deadline=None)
def test_no_corruption_raises_anything_but_our_errors(
    seed: str, changed: list[tuple[int, int]], kept: int
) -> None:
    data = bytearray(seeds[seed])
    for at, value in changed:
        data[at % len(data)] = value
    try:
        image = decode(bytes(data[: kept or None]), ImageLimits(max_pixels=100_000), (8, 8)).image
    except ServerError as error:
        assert error.status < 500  # noqa: PT017 - both outcomes are good
    else:
        assert image.mode == "RGB"


def with_exif(block: bytes) -> bytes:
    """A JPEG, 20 x 10 as stored; Pillow's own writing of it would refuse some of the blocks."""
    plain = encoded(Image.new("RGB", (20, 10)), "JPEG")
    segment = b"Exif\0\0" + block
    return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + plain[2:]


def sound_exif() -> bytes:
    exif = Image.Exif()
    exif.update({0x0112: 6, 0x010F: "Maker", 0x011A: 72.0, 0x011B: 72.0, 0x0128: 2})
    return exif.tobytes().removeprefix(b"Exif\0\0")


@given(changes, st.integers(0, 200))
@settings(max_examples=400, deadline=None)
def test_corrupt_exif_never_fails_an_image(changed: list[tuple[int, int]], kept: int) -> None:
    block = bytearray(sound_exif())
    for at, value in changed:
        block[at % len(block)] = value
    decoded = decode(with_exif(bytes(block[: kept or None])), LIMITS)
    assert sorted((decoded.width, decoded.height)) == [10, 20]


@pytest.mark.parametrize("block", [b"", b"II*\0", b"MM\0*\0\0\0\x08\xff\xff", b"nonsense"])
def test_corrupt_exif_means_upright(block: bytes) -> None:
    decoded = decode(with_exif(block), LIMITS)
    assert (decoded.width, decoded.height) == decoded.image.size == (20, 10)
    assert decode(with_exif(sound_exif()), LIMITS).image.size == (10, 20)


@pytest.mark.parametrize("value", [0, 9, 65_535])
def test_an_orientation_that_there_is_not_means_upright(value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    decoded = decode(with_exif(exif.tobytes().removeprefix(b"Exif\0\0")), LIMITS)
    assert (decoded.width, decoded.height) == (20, 10)


@pytest.mark.parametrize("between", [b"\xff" * 99, b"\xff\0" + b"U" * 99], ids=["fill", "junk"])
def test_what_stands_between_the_segments_of_a_jpeg_is_skipped(between: bytes) -> None:
    plain = variants()["grey.jpg"]
    loose = plain[:2] + between + plain[2:]
    assert inspect(loose, LIMITS) == ("JPEG", *upright().size)
    assert difference(decode(loose, LIMITS).image, upright().convert("L")) < TOLERANCE


def test_a_resolution_that_is_no_number_does_not_fail_an_image() -> None:
    block = struct.pack("<2sHIH", b"II", 42, 8, 2)
    block += struct.pack("<HHII", 0x0128, 3, 1, 2) + struct.pack("<HHI4s", 0x011A, 2, 1, b"\0")
    assert decode(with_exif(block + b"\0" * 4), LIMITS).width == 20
