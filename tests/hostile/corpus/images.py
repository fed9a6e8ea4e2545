"""Hostile images: cut, corrupt, huge, disguised; and odd ones that are sound."""

import zlib

from tests.hostile import pictures
from tests.hostile.pictures import END, animated, canvas, chunk, png, riff, saved, segment, within
from tests.hostile.wire import PIXELS, UNDECODABLE, UNSUPPORTED, Case, get, part, post, posted_parts

JPEG = saved("JPEG")
SOUND = png()
XMP = b"http://ns.adobe.com/xap/1.0/\0"
EXIF_BOMB = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\xff\xff\xff\xff" + bytes(60_000)
FRAME = (b"VP8L", saved("WEBP", lossless=True)[20:])
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
DATA_URL = b"data:image/png;base64,iVBORw0KGgo="


def _bad(name: str, data: bytes, status: int = 422, error: str = UNDECODABLE) -> Case:
    return Case(name, post(data, "image/jpeg"), status, error)


def _odd(name: str, data: bytes) -> Case:
    """A case that is odd, but sound."""
    return Case(name, post(data, "image/jpeg"), 200)


def _other(name: str, data: bytes) -> Case:
    """A case of a format that is not taken."""
    return Case(name, posted_parts(part(data)), 415, UNSUPPORTED)


def _huge(name: str, data: bytes) -> Case:
    """A case of too many pixels."""
    return Case(name, post(data, "image/jpeg"), 413, PIXELS)


CASES = (
    # Cut
    *(
        _bad(f"{title} of a {format_}", cut)
        if title not in ("one byte", *(["8 bytes", "12 bytes"] if format_ == "WEBP" else []))
        else _other(f"{title} of a {format_}", cut)
        for format_ in ("JPEG", "PNG", "WEBP")
        for title, cut in pictures.cuts(saved(format_))
    ),
    _bad("a progressive JPEG cut in half", saved("JPEG", progressive=True)[:1000]),
    _bad("an animated WebP cut in half", animated("WEBP")[:90]),
    _bad("a lossless WebP cut in half", saved("WEBP", lossless=True)[:1000]),
    _bad("a PNG without pixels", pictures.header() + END),
    _bad("a PNG of a header alone", pictures.header()),
    _bad("a PNG with half its pixels", pictures.header() + pictures.pixels(bytes(999)) + END),
    _bad("a JPEG of its ends alone", b"\xff\xd8\xff\xd9"),
    _bad("a JPEG of markers alone", b"\xff\xd8" + b"\xff" * 1000),
    _bad("a JPEG without tables", b"\xff\xd8" + segment(0xC0, b"\x08\0\x1e\0\x28\x01\x01\x11\0")
         + segment(0xDA, b"\x01\x01\0\0\x3f\0") + bytes(99)),
    # Corrupt
    _bad("a PNG with a wrong checksum", pictures.PNG + SOUND[8:29] + b"abcd" + SOUND[33:]),
    _bad("a PNG with garbage for pixels", pictures.header() + chunk(b"IDAT", b"garbage") + END),
    _bad("a PNG of no depth", png(depth=0)),
    _bad("a PNG of depth 255", png(depth=255)),
    _bad("a PNG of an unknown colour", png(colour=9)),
    _odd("a PNG of another compression, which is compressed as usual", png(compression=9)),
    _bad("a PNG of another filter", png(filter_=9)),
    _bad("a PNG with an unknown row filter",
         pictures.header() + pictures.pixels(b"\x09" * 30 * 121) + END),
    _bad("a PNG of no width", png(width=0)),
    _bad("a PNG of no height", png(height=0)),
    _bad("a PNG whose header is not first", pictures.PNG + chunk(b"tEXt", b"a\0b") + SOUND[8:]),
    _bad("a PNG with two headers of different sizes",
         pictures.header(40, 37) + pictures.header()[8:] + pictures.pixels() + END),
    _huge("a PNG whose second header is smaller than its first",
          pictures.header(20_000, 20_000) + pictures.header()[8:] + pictures.pixels() + END),
    _bad("a PNG whose second header is larger than its first",
         pictures.header() + pictures.header(20_000, 20_000)[8:] + pictures.pixels() + END),
    _bad("a PNG with a chunk of 4 GB", pictures.header() + b"\xff\xff\xff\xffIDAT" + bytes(99)),
    _bad("a PNG with a chunk of no name", png(b"\0\0\0\0" + bytes(8))),
    _bad("a JPEG with a wrong length", JPEG[:4] + b"\xff\xff" + JPEG[6:]),
    _odd("a JPEG with a comment of no length", within(JPEG, b"\xff\xfe\0\0")),
    _bad("a JPEG of 12 bits", JPEG.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c")),
    _bad("a JPEG in arithmetic coding of garbage", JPEG.replace(b"\xff\xc0", b"\xff\xcb")),
    _bad("a JPEG of 3,000 segments", within(JPEG, *[segment(0xEF, b"x")] * 3000)),
    _bad("a WebP of a wrong frame", riff((b"VP8 ", bytes(30)))),
    _bad("a WebP of a canvas alone", riff(canvas(40, 30))),
    _bad("a WebP of garbage", riff((b"VP8L", b"\x2f\x27\x40\x07\0" + b"\xff" * 40))),
    _bad("a WebP of 4 GB, as it says", riff((b"VP8 ", bytes(30)), size=2**32 - 2)),
    _bad("a WebP of animation without frames", riff(canvas(40, 30, 2), (b"ANIM", bytes(6)))),
    # Bombs
    _huge("a PNG of 400 megapixels", pictures.header(20_000, 20_000) + END),
    _huge("a PNG of the largest sides", pictures.header(2**31 - 1, 2**31 - 1) + END),
    _huge("a PNG beyond its largest sides", pictures.header(2**32 - 1, 2**32 - 1) + END),
    _huge("a PNG of one long row", pictures.header(70_000, 1) + END),
    _huge("a JPEG of 65,535 a side", pictures.sized_jpeg(65_535, 65_535)),
    _huge("a WebP of 16,383 a side",
          riff((b"VP8L", b"\x2f" + (16382 | 16382 << 14).to_bytes(4, "little") + bytes(20)))),
    _huge("a WebP of a canvas of 16 million a side", riff(canvas(2**24, 2**24))),
    _odd("a JPEG that ends long before its 20 megapixels", pictures.sized_jpeg(5_000, 4_000)),
    _bad("a PNG with a text bomb", png(chunk(b"zTXt", b"a\0\0" + pictures.zeros(100)))),
    _bad("a PNG with an international text bomb",
         png(chunk(b"iTXt", b"a\0\1\0\0\0" + pictures.zeros(100)))),
    _bad("a PNG with 100 text bombs", png(*[chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**20)))]
                                          * 100)),
    _bad("a PNG with a colour profile bomb", png(chunk(b"iCCP", b"a\0\0" + pictures.zeros(100)))),
    _odd("a PNG of more pixels than it says",
         pictures.header() + chunk(b"IDAT", pictures.zeros(100)) + END),
    _odd("a JPEG with an EXIF bomb", within(JPEG, segment(0xE1, b"Exif\0\0" + EXIF_BOMB))),
    _odd("a PNG with an EXIF bomb", png(chunk(b"eXIf", EXIF_BOMB))),
    _odd("a WebP with an EXIF bomb", riff(canvas(40, 30, 8), FRAME, (b"EXIF", EXIF_BOMB))),
    _bad("a PNG with an EXIF bomb in a text",
         png(chunk(b"zTXt", b"Raw profile type exif\0\0" + pictures.zeros(100)))),
    _bad("a PNG with an XMP bomb",
         png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + pictures.zeros(100)))),
    _odd("a PNG of 10,000 texts", png(*[chunk(b"tEXt", b"a\0b")] * 10_000)),
    _odd("a PNG with a palette of no colours", png(chunk(b"PLTE"))),
    _odd("a PNG animation of 4 billion frames", png(chunk(b"acTL", b"\xff" * 4 + bytes(4)))),
    _odd("a WebP with a colour profile of 4 MB",
         riff(canvas(40, 30, 32), (b"ICCP", bytes(2**22)), FRAME)),
    _odd("a WebP animation of 1,000 frames", animated("WEBP", 1_000)),
    _odd("a JPEG with EXIF that goes in circles", within(JPEG, segment(
        0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x08\0\0\0\x08"))),
    _odd("a JPEG with a billion laughs in its XMP", within(JPEG, segment(
        0xE1, XMP + b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><x>&b;</x>'))),
    _odd("a JPEG with XMP that calls for files", within(JPEG, segment(
        0xE1, XMP + b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>'))),
    _odd("a JPEG with a colour profile of 200 parts", within(JPEG, *[
        segment(0xE2, b"ICC_PROFILE\0" + bytes((n, 200)) + b"x" * 9000) for n in range(1, 201)])),
    # Disguised
    _other("an empty line", b"\n"),
    _other("one byte", b"\0"),
    _other("zeros", bytes(100_000)),
    _other("a text", b"hello, this is no image"),
    _other("HTML", b"<!doctype html><script>alert(1)</script>"),
    _other("an SVG that calls for files", b'<svg><image href="file:///etc/passwd"/></svg>'),
    _other("an SVG behind XML", b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>'),
    _other("PostScript", b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) (r) file\n"),
    _other("an ImageMagick script", b"push graphic-context\nfill 'url(https://x|ls)'\n"),
    _other("a PDF", b"%PDF-1.7\n" + bytes(100)),
    _other("a ZIP", b"PK\3\4" + bytes(100)),
    _other("gzip of a PNG", zlib.compress(SOUND, wbits=31)),
    _other("a program", b"\x7fELF\x02\x01\x01" + bytes(100)),
    _other("a pickle", b"\x80\x04\x95\x05\0\0\0\0\0\0\0\x8c\x01x\x94."),
    _other("a GIF", saved("GIF")),
    _other("an animated GIF", animated("GIF")),
    _other("a TIFF said to be a PNG", saved("TIFF")),
    _other("a BMP", saved("BMP")),
    _other("a PPM", saved("PPM")),
    _other("a JPEG 2000", saved("JPEG2000")),
    _other("an AVIF", saved("AVIF")),
    _other("a HEIC", HEIC),
    _other("an icon", saved("ICO")),
    _other("a video", b"\0\0\0\x18ftypmp42" + bytes(100)),
    _other("a sound", b"RIFF\x24\0\0\0WAVEfmt " + bytes(30)),
    _other("a data URL", DATA_URL),
    _other("base64", b"/9j/4AAQSkZJRgABAQ"),
    _other("a JPEG behind a space", b" " + JPEG),
    _other("a PNG with its line ends changed", SOUND.replace(b"\r\n", b"\n")),
    _other("a PNG behind a byte order mark", b"\xef\xbb\xbf" + SOUND),
    _bad("the signature of a PNG in front of a JPEG", pictures.PNG + JPEG),
    _odd("a JPEG with a ZIP behind it", JPEG + b"PK\3\4" + bytes(100)),
    _odd("a JPEG with a script in its comment", within(JPEG, segment(0xFE, b"<?php exit();?>"))),
    _odd("a PNG with HTML behind it", SOUND + b"<script>alert(1)</script>"),
    _odd("a PNG with HTML inside", png(chunk(b"tEXt", b"a\0<script>alert(1)</script>"))),
    _odd("a PNG named .exe", SOUND),
    # Odd, but sound
    _odd("an animated WebP: its first frame", animated("WEBP")),
    _odd("an animated PNG: its first frame", animated("PNG")),
    _odd("two JPEGs in one file", JPEG + JPEG),
    *(
        _odd(f"a {format_} of mode {mode}", saved(format_, mode))
        for format_, modes in {
            "PNG": ("1", "L", "LA", "P", "RGBA"), "JPEG": ("L", "CMYK"), "WEBP": ("RGBA", "L"),
        }.items()
        for mode in modes
    ),
    _odd("a PNG of 16 bits", pictures.sixteen_bit()),
    _odd("a progressive JPEG", saved("JPEG", progressive=True)),
    _odd("a lossless WebP", saved("WEBP", lossless=True)),
    _odd("a PNG of one pixel",
         pictures.header(1, 1, 8, 0) + pictures.pixels(bytes(2)) + END),
    _odd("a PNG of one long row of 65,500",
         pictures.header(65_500, 1, 1, 0) + pictures.pixels(bytes(8189)) + END),
    _odd("a PNG without its end", SOUND[:-12]),
    Case("a web page asks for an image", get("/favicon.ico"), 404, "not_found"),
)  # fmt: skip
