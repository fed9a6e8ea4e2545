"""Hostile forms: the grammar of multipart/form-data."""

from tests.hostile.wire import (
    BYTES,
    END,
    FORM,
    IMAGE,
    MALFORMED,
    MEDIA,
    NAMED,
    PARAMETER,
    Case,
    field,
    part,
    posted_form,
    posted_parts,
)

PART = part()
WHOLE = PART + END
LONG = "b" * 71


def _bounded(boundary: str, header: str | None = None) -> bytes:
    """A proper form with that boundary, and its Content-Type with that boundary's header."""
    body = WHOLE.replace(b"XX", boundary.encode("latin-1"))
    return posted_form(body, f"multipart/form-data; boundary={header or boundary}")


def _disposed(disposition: str) -> bytes:
    return posted_parts(part(IMAGE, disposition))


def _headed(*headers: str) -> bytes:
    return posted_parts(part(IMAGE, NAMED, *headers))


CASES = (
    # The boundary
    Case("no boundary", posted_form(WHOLE, "multipart/form-data"), 400, MALFORMED),
    Case("an empty boundary", posted_form(WHOLE, FORM[:-2]), 400, MALFORMED),
    Case("an empty quoted boundary", posted_form(WHOLE, FORM[:-2] + '""'), 400, MALFORMED),
    Case("a boundary that is not the body's", posted_form(WHOLE, FORM + "Y"), 400, MALFORMED),
    Case("a boundary in another case", posted_form(WHOLE, FORM[:-2] + "xx"), 400, MALFORMED),
    Case("a boundary of 70 characters", _bounded(LONG[:70]), 200),
    Case("a boundary of 71 characters", _bounded(LONG), 400, MALFORMED),
    Case("a boundary of 5000 characters", _bounded(LONG * 70), 400, MALFORMED),
    Case("a boundary of one character", _bounded("b"), 200),
    Case("a boundary of every mark", _bounded("a'()+_,-./:=?z", "\"a'()+_,-./:=?z\""), 200),
    Case("a boundary with a space", _bounded("a b", '"a b"'), 200),
    Case("a boundary that ends with a space", _bounded("ab ", '"ab "'), 400, MALFORMED),
    Case("a boundary with a quote", _bounded('a"b', '"a\\"b"'), 400, MALFORMED),
    Case("a boundary with an umlaut", _bounded("a\xfcb"), 400, MALFORMED),
    Case("a boundary with a tab", _bounded("a\tb", '"a\tb"'), 400, MALFORMED),
    Case("a boundary whose quote is not closed", _bounded("XX", '"XX'), 400, MALFORMED),
    Case("two boundaries", posted_form(WHOLE, FORM + "; boundary=YY"), 400, MALFORMED),
    Case("two boundaries, the last the body's",
         posted_form(WHOLE, FORM.replace("XX", "YY") + "; boundary=XX"), 400, MALFORMED),
    Case("a boundary inside another", _bounded("XX", '"YY; boundary=XX"'), 400, MALFORMED),
    Case("a boundary with a star", posted_form(WHOLE, FORM.replace("=", "*=")), 400, MALFORMED),
    Case("a charset of the form", posted_form(WHOLE, FORM + "; charset=bogus-9"), 200),
    Case("BOUNDARY in capitals", posted_form(WHOLE, FORM.replace("b", "B")), 200),
    Case("garbage after the boundary", posted_form(WHOLE, FORM + "; ???"), 400, MALFORMED),
    # The frame
    Case("no parts", posted_parts(), 400, "no_image"),
    Case("a body of nothing", posted_form(b""), 400, MALFORMED),
    Case("a body of line ends", posted_form(b"\r\n" * 50), 400, MALFORMED),
    Case("a body of zeros", posted_form(bytes(5000)), 400, MALFORMED),
    Case("a bare image in the place of a form", posted_form(IMAGE), 400, MALFORMED),
    Case("lines that end with LF only", posted_form(WHOLE.replace(b"\r", b"")), 400, MALFORMED),
    Case("headers that end with LF", posted_form(WHOLE.replace(b"\r\n", b"\n", 3)), 400, MALFORMED),
    Case("headers that end with CR", posted_form(WHOLE.replace(b"\r\n", b"\r", 3)), 400, MALFORMED),
    Case("no end of the form", posted_form(PART), 400, MALFORMED),
    Case("half an end of the form", posted_form(WHOLE[:-3]), 400, MALFORMED),
    Case("an end without its last line end", posted_form(WHOLE[:-2]), 200),
    Case("a part cut in its headers", posted_form(PART[:30]), 400, MALFORMED),
    Case("a part cut in its body", posted_form(PART[:-40]), 400, MALFORMED),
    Case("a part without an empty line", posted_form(b"--XX\r\nA: b\r\n--XX--"), 400, MALFORMED),
    Case("an end in front of the parts", posted_form(END + WHOLE), 400, "no_image"),
    Case("a preamble", posted_form(b"This is a form.\r\n" + WHOLE), 200),
    Case("a preamble without a line end", posted_form(b"junk" + WHOLE), 400, MALFORMED),
    Case("an epilogue", posted_form(WHOLE + b"And that was it.\r\n"), 200),
    Case("a second form as epilogue", posted_form(WHOLE + WHOLE), 200),
    Case("spaces after a boundary", posted_form(WHOLE.replace(b"XX\r", b"XX  \r")), 400, MALFORMED),
    Case("a boundary with one dash", posted_form(WHOLE.replace(b"--XX", b"-XX")), 400, MALFORMED),
    Case("a part that begins with the boundary", posted_parts(field("x", "--XX\r\nA: b\r\n\r\ny"),
                                                              PART), 400, MALFORMED),
    Case("a part that begins with the end", posted_parts(part(END + IMAGE)), 400, MALFORMED),
    Case("a part that begins almost with the boundary", posted_parts(field("x", "--X"), PART), 200),
    Case("17 parts", posted_parts(*[field(f"x{n}", "y") for n in range(17)]), 400, MALFORMED),
    Case("10,000 parts", posted_parts(field("x", "y") * 10_000), 400, MALFORMED),
    Case("16 parts, an image the last", posted_parts(field("x", "y") * 15, PART), 200),
    # Which parts
    Case("two images", posted_parts(PART, PART), 400, MALFORMED),
    Case("two images, one empty", posted_parts(PART, part(b"")), 400, MALFORMED),
    Case("no part named image", posted_parts(field("file", "x")), 400, "no_image"),
    Case("a part named IMAGE", _disposed('form-data; name="IMAGE"'), 400, "no_image"),
    Case("a part named image[]", _disposed('form-data; name="image[]"'), 400, "no_image"),
    Case("a part of no name's length", _disposed('form-data; name=""'), 400, "no_image"),
    Case("a name with NUL", _disposed('form-data; name="image\0"'), 400, MALFORMED),
    Case("a file name with NUL", _disposed(NAMED.replace("a.", "a\0.")), 400, MALFORMED),
    Case("a file name with an escape", _disposed(NAMED.replace("a.", "\x1b[2J.")), 400, MALFORMED),
    Case("an empty file", posted_parts(part(b"")), 400, "empty_image"),
    Case("an image without a file name", _disposed('form-data; name="image"'), 200),
    Case("an empty file name", _disposed('form-data; name="image"; filename=""'), 200),
    Case("a field of a megabyte", posted_parts(field("x", "y" * 2**20), PART), 413, BYTES),
    Case("a field of 64 kB", posted_parts(field("x", "y" * 2**16), PART), 200),
    Case("a flag of 99 kB", posted_parts(PART, field("save_locally", "1" * 99_000)), 413, BYTES),
    Case("a flag that is none", posted_parts(PART, field("save_locally", "ja")), 400, PARAMETER),
    Case("a flag in UTF-16", posted_parts(PART, field("save_locally", "t\0r\0")), 400, PARAMETER),
    Case("a field _charset_", posted_parts(field("_charset_", "bogus-9"), PART), 200),
    # The headers of a part
    Case("a line end in front of a header", _headed("\nContent-Type: image/png"), 400, MALFORMED),
    Case("a return in front of a header", _headed("\rContent-Type: image/png"), 400, MALFORMED),
    Case("a space behind a header's name", _headed("Content-Type : image/png"), 400, MALFORMED),
    Case("a no-break space at a header's name", posted_parts(
        PART.replace(b"\r\n\r\n", b"\r\n\xc2\xa0A: b\r\n\r\n", 1)), 400, MALFORMED),
    Case("a long header that is no UTF-8", _headed("X: " + "\0" * 4000 + "\xff"), 400, MALFORMED),
    Case("a long name that is no UTF-8", _disposed(NAMED.replace("a.", "\xff" * 4000)), 400,
         MALFORMED),
    Case("no Content-Disposition", posted_parts(part(IMAGE, None, "A: b")), 400, MALFORMED),
    Case("no headers at all", posted_parts(part(IMAGE, None)), 400, MALFORMED),
    Case("no name", _disposed('form-data; filename="a.png"'), 400, MALFORMED),
    Case("an attachment", _disposed('attachment; name="image"'), 400, MALFORMED),
    Case("two names", _disposed('form-data; name="x"; name="image"'), 400, MALFORMED),
    Case("two file names", _disposed(NAMED + '; filename="b.png"'), 400, MALFORMED),
    Case("two Content-Dispositions", _headed(f"Content-Disposition: {NAMED}"), 400, MALFORMED),
    Case("a name whose quote is not closed", _disposed('form-data; name="image'), 400, MALFORMED),
    Case("a file name in RFC 5987", _disposed(NAMED + "; filename*=utf-8''%00.png"), 200),
    Case("a header without a colon", _headed("no colon"), 400, MALFORMED),
    Case("a header with an empty name", _headed(": x"), 400, MALFORMED),
    Case("a header name with a space", _headed("X Y: x"), 400, MALFORMED),
    Case("a folded header", _headed("X: y\r\n z"), 400, MALFORMED),
    Case("a header that is no UTF-8", _headed("X: \xff\xfe"), 400, MALFORMED),
    Case("a header with NUL", _headed("X: a\0b"), 400, MALFORMED),
    Case("200 headers of a part", _headed(*[f"X-{n}: y" for n in range(200)]), 400, MALFORMED),
    Case("a header of 9 kB", _headed("X: " + "y" * 9000), 400, MALFORMED),
    Case("a part length too small", _headed("Content-Length: 5"), 400, MALFORMED),
    Case("a part length too large", _headed("Content-Length: 99999"), 400, MALFORMED),
    Case("a negative part length", _headed("Content-Length: -5"), 400, MALFORMED),
    Case("a part length of many digits", _headed("Content-Length: 1" + "0" * 4000), 400, MALFORMED),
    # The encoding of a part
    Case("a part in base64", _headed("Content-Transfer-Encoding: base64"), 415, MEDIA),
    Case("a quoted part", _headed("content-transfer-encoding: Quoted-Printable"), 415, MEDIA),
    Case("an unknown encoding", _headed("Content-Transfer-Encoding: rot13"), 415, MEDIA),
    Case("a flag in base64", posted_parts(PART, part(
        b"MQ==", 'form-data; name="save_locally"', "Content-Transfer-Encoding: base64",
    )), 415, MEDIA),
    Case("a part said to be binary", _headed("Content-Transfer-Encoding: binary"), 200),
    Case("a part said to be 8bit", _headed("Content-Transfer-Encoding: 8BIT"), 200),
    Case("a part in gzip", _headed("Content-Encoding: gzip"), 415, MEDIA),
    Case("a part said to be identity", _headed("Content-Encoding: identity"), 200),
    Case("a nested form", _headed("Content-Type: multipart/mixed; boundary=YY"), 415, MEDIA),
    Case("a nested message", _headed("Content-Type: message/rfc822"), 415, MEDIA),
    Case("a part with a bogus charset", _headed("Content-Type: image/png; charset=bogus-9"), 200),
    Case("a part with a bogus type", _headed("Content-Type: ???"), 200),
    Case("a part said to be a text", _headed("Content-Type: text/plain"), 200),
    # File names are data
    *(
        Case(f"a file name {title}", posted_parts(
            part(IMAGE, f'form-data; name="image"; filename="{name}"'),
            field("save_locally", "true"),
        ), 200)
        for title, name in {
            "that climbs": "../../../../../../tmp/hostile-climbed.png",
            "that is absolute": "/tmp/hostile-absolute.png",  # noqa: S108 - nothing is written there
            "of Windows": "C:\\\\Windows\\\\hostile.png",
            "of dots": "..",
            "of 4000 characters": "a" * 4000 + ".png",
            "with line ends": "a%0D%0Ab.png",
            "of HTML": "<script>alert(1)</script>.png",
            "of a device": "/dev/null",
            "of SQL": "'); DROP TABLE predictions; --.png",
        }.items()
    ),
)  # fmt: skip
