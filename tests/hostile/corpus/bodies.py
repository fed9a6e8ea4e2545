"""Hostile bodies: their types, encodings, sizes and ends."""

from tests.hostile import pictures
from tests.hostile.wire import (
    BYTES,
    END,
    FORM,
    IMAGE,
    LAST,
    MALFORMED,
    MEDIA,
    PARAMETER,
    PIXELS,
    SILENCE,
    UNSUPPORTED,
    Case,
    chunk,
    chunked,
    get,
    part,
    post,
    posted_form,
    request,
)

LARGE = 32 * 2**20 + 1  # one more than the server takes
POST = "POST /predict HTTP/1.1"
PNG = "Content-Type: image/png"
ASKED = "Expect: 100-continue"

CASES = (
    # Types
    Case("JSON", post(b"{}", "application/json"), 415, MEDIA),
    Case("deep JSON", post(b"[" * 100_000, "application/json"), 415, MEDIA),
    Case("a URL-encoded form", post(b"image=x", "application/x-www-form-urlencoded"), 415, MEDIA),
    Case("XML that calls for files", post(b"<!DOCTYPE x>", "application/xml"), 415, MEDIA),
    Case("a text", post(b"hello", "text/plain"), 415, MEDIA),
    Case("no type", post(IMAGE, None), 415, MEDIA),
    Case("an empty type", post(IMAGE, ""), 415, MEDIA),
    Case("a broken type", post(IMAGE, "image"), 415, MEDIA),
    Case("a type of semicolons", post(IMAGE, ";" * 1000), 415, MEDIA),
    Case("multipart/mixed", post(part() + END, FORM.replace("form-data", "mixed")), 415, MEDIA),
    Case("multipart/related", post(part() + END, FORM.replace("form-data", "related")), 415, MEDIA),
    Case("multipart alone", post(part() + END, "multipart"), 415, MEDIA),
    Case("multipart of nothing", post(part() + END, "multipart/; boundary=XX"), 415, MEDIA),
    Case("two types", post(IMAGE, "image/png", "Content-Type: text/plain"), 400, MALFORMED,
         closed=True),
    Case("another image's type", post(IMAGE, "image/jpeg"), 200),
    Case("an image's type with a bogus charset", post(IMAGE, "image/png; charset=bogus-9"), 200),
    Case("bytes without a type of their own", post(IMAGE, "application/octet-stream"), 200),
    # Encodings
    *(
        Case(f"a body in {encoding}", post(IMAGE, "image/png", f"Content-Encoding: {encoding}"),
             415, MEDIA)
        for encoding in ("gzip", "deflate", "br", "zstd", "gzip, gzip", "bogus", "GZIP")
    ),
    Case("gzip that is none", post(b"\x1f\x8b" + bytes(9), FORM, "Content-Encoding: gzip"),
         415, MEDIA),
    Case("an encoding of nothing", post(IMAGE, "image/png", "Content-Encoding: identity"), 200),
    Case("an encoding of Nothing", post(IMAGE, "image/png", "Content-Encoding: Identity"), 200),
    # Sizes
    Case("an empty image", post(b""), 400, "empty_image"),
    Case("an empty chunked image", chunked(LAST), 400, "empty_image"),
    Case("no body and no length", request(POST, PNG), 400, "empty_image"),
    Case("a byte too many, as its length says", request(POST, PNG, f"Content-Length: {LARGE}"),
         413, BYTES),
    Case("a petabyte", request(POST, PNG, f"Content-Length: {10**15}"), 413, BYTES),
    Case("a byte too many in chunks", chunked(*[chunk(bytes(2**20))] * 32, chunk(b"x"), LAST),
         413, BYTES),
    Case("one chunk of a petabyte", chunked(b"%x\r\nx" % 10**15), 408, "body_timeout"),
    Case("5,000 chunks of a byte", chunked(*[chunk(b"\0")] * 5000, LAST), 415, UNSUPPORTED),
    # The same doors for what is run later
    *(
        Case(f"{title} to run later", sent.replace(b"/predict", b"/asyncPredict"), status, error)
        for title, sent, status, error in (
            ("JSON", post(b"{}", "application/json"), 415, MEDIA),
            ("an empty image", post(b""), 400, "empty_image"),
            ("a text", post(b"hello"), 415, UNSUPPORTED),
            ("a form of no image", posted_form(END), 400, "no_image"),
            ("a form of two images", posted_form(part() + part() + END), 400, MALFORMED),
            ("a wrong chunk", chunked(b"xyz\r\n"), 400, MALFORMED),
            ("a petabyte", request(POST, PNG, f"Content-Length: {10**15}"), 413, BYTES),
            ("400 megapixels", post(pictures.header(20_000, 20_000)), 413, PIXELS),
            ("a PNG cut in half", post(IMAGE[: len(IMAGE) // 2]), 200, None),  # seen when it is run
        )
    ),
    Case("a text that prefers to run later",
         post(b"hello", "image/png", "Prefer: respond-async"), 415, UNSUPPORTED),
    Case("an image that prefers to run later",
         post(IMAGE, "image/png", "Prefer: respond-async"), 202),
    # Ends
    Case("a body that ends early", post()[:-9], SILENCE, half_closed=True),
    Case("a form that ends early", posted_form(part() + END)[:-9], SILENCE, half_closed=True),
    Case("chunks that end early", chunked(chunk()), SILENCE, half_closed=True),
    Case("a chunk that ends early", chunked(chunk()[:-9]), SILENCE, half_closed=True),
    Case("a head that ends early", post()[:30], SILENCE, half_closed=True),
    Case("a body that stops", post()[:-9], 408, "body_timeout"),
    Case("chunks that stop", chunked(chunk()), 408, "body_timeout"),
    # Expect
    Case("a body that was asked for",
         request(POST, PNG, f"Content-Length: {len(IMAGE)}", ASKED), 200, later=IMAGE),
    Case("a large body that asks first", request(POST, PNG, f"Content-Length: {LARGE}", ASKED),
         413, BYTES, closed=True),
    Case("a text that asks first", request(POST, "Content-Length: 5", ASKED), 415, MEDIA,
         closed=True),
    Case("a wrong flag that asks first",
         request("POST /predict?save_locally=ja HTTP/1.1", PNG, "Content-Length: 5", ASKED),
         400, PARAMETER, closed=True),
    Case("a body for nothing that asks first",
         request("POST /nothing HTTP/1.1", "Content-Length: 5", ASKED), 404, "not_found",
         later=b"12345"),
    Case("another expectation of a GET", get("/livez", "Expect: 200-ok"), 400, PARAMETER,
         closed=True),
    Case("another expectation of nothing", get("/nothing", "Expect: x"), 400, PARAMETER,
         closed=True),
    Case("an expectation of broken UTF-8", get("/nothing", "Expect: \xd6x"), 400, PARAMETER,
         closed=True),
    Case("another expectation", post(IMAGE, "image/png", "Expect: 200-ok"), 400, PARAMETER,
         closed=True),
    Case("a client that asks first and goes",
         request(POST, PNG, "Content-Length: 5", ASKED), SILENCE, half_closed=True),
    Case("an expectation of 1.0", request("POST /predict HTTP/1.0", PNG,
         f"Content-Length: {len(IMAGE)}", ASKED, body=IMAGE), 200),
    Case("a bad chunk after the 100",
         request(POST, PNG, "Transfer-Encoding: chunked", ASKED), 400, MALFORMED,
         later=b"xyz\r\n", closed=True),
    Case("a bad chunk after a good one",
         request(POST, PNG, "Transfer-Encoding: chunked", ASKED), 400, MALFORMED,
         later=chunk() + b"-5\r\n", closed=True),
)  # fmt: skip
