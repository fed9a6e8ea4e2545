"""Hostile framing: where a request ends, and what is smuggled behind it."""

from tests.hostile.wire import (
    IMAGE,
    LAST,
    MALFORMED,
    SILENCE,
    UNKNOWN,
    Case,
    chunk,
    chunked,
    get,
    post,
    request,
)

POST = "POST /predict HTTP/1.1"
PNG = "Content-Type: image/png"
CHUNKED = "Transfer-Encoding: chunked"
SMUGGLED = b"DELETE /deleteAll HTTP/1.1\r\nHost: x\r\n\r\n"
LIVE = get("/livez")


def _length(value: str, *headers: str) -> bytes:
    return request(POST, PNG, f"Content-Length: {value}", *headers, body=IMAGE + SMUGGLED)


def _coded(*encodings: str) -> bytes:
    coded = [f"Transfer-Encoding: {encoding}" for encoding in encodings]
    return request(POST, PNG, *coded, body=chunk() + LAST + SMUGGLED)


def _refused(name: str, sent: bytes) -> Case:
    """A case that must be answered by one 400 and the end of the connection."""
    return Case(name, sent, 400, MALFORMED, closed=True)


CASES = (
    # Lengths
    _refused("a negative length", _length("-1")),
    _refused("a length with a plus", _length(f"+{len(IMAGE)}")),
    _refused("a length in hex", _length(f"{len(IMAGE):#x}")),
    _refused("a length with a comma", _length(f"{len(IMAGE)}, {len(IMAGE)}")),
    _refused("a length with a space inside", _length("1 0")),
    _refused("a length with an underscore", _length("1_0")),
    _refused("a length of a fraction", _length("10.0")),
    _refused("an empty length", _length("")),
    _refused("a length in letters", _length("ten")),
    _refused("a length of Arabic digits", _length("\u0661".encode().decode("latin-1"))),
    _refused("a length beyond 64 bits", _length(str(2**64))),
    _refused("a length of 5,000 digits", _length("9" * 5000)),
    _refused("a negative length with 20 MB behind it", _length("-1") + bytes(20_000_000)),
    _refused("two lengths", _length("5", f"Content-Length: {len(IMAGE)}")),
    _refused("the same length twice", _length(str(len(IMAGE)), f"Content-Length: {len(IMAGE)}")),
    _refused("a length and chunks", _length("5", CHUNKED)),
    _refused("chunks and a length", request(POST, PNG, CHUNKED, "Content-Length: 5",
                                            body=LAST + SMUGGLED)),
    _refused("a folded length", _length("\r\n 5")),
    _refused("a space in front of the colon", request(POST, PNG, "Content-Length : 5",
                                                      body=b"12345" + SMUGGLED)),
    # Transfer encodings
    _refused("identity", _coded("identity")),
    _refused("gzip and chunked", _coded("gzip, chunked")),
    _refused("chunked twice", _coded("chunked, chunked")),
    _refused("two headers of chunked", _coded("chunked", "chunked")),
    _refused("chunked and identity", _coded("chunked", "identity")),
    _refused("chunked, then gzip", _coded("chunked, gzip")),
    _refused("xchunked", _coded("xchunked")),
    _refused("chunked in quotes", _coded('"chunked"')),
    _refused("chunked with a parameter", _coded("chunked;q=1")),
    _refused("chunked after a vertical tab", _coded("\x0bchunked")),
    _refused("chunked with NUL", _coded("chunked\0")),
    _refused("an empty encoding", _coded("")),
    _refused("a folded encoding", _coded("\r\n chunked")),
    _refused("an encoding with a space before its colon",
             request(POST, PNG, "Transfer-Encoding : chunked", body=chunk() + LAST)),
    _refused("chunks in HTTP/1.0",
             request("POST /predict HTTP/1.0", PNG, CHUNKED, body=chunk() + LAST + SMUGGLED)),
    Case("chunked in capitals", request(POST, PNG, "Transfer-Encoding: CHUNKED",
                                        body=chunk() + LAST), 200),
    # Chunks
    _refused("a chunk size in letters", chunked(b"xyz\r\n", LAST)),
    _refused("a negative chunk size", chunked(b"-1\r\n", LAST)),
    _refused("a chunk size with a plus", chunked(b"+5\r\n12345\r\n", LAST)),
    _refused("a chunk size with 0x", chunked(b"0x5\r\n12345\r\n", LAST)),
    _refused("a chunk size with an underscore", chunked(b"1_0\r\n" + bytes(16) + b"\r\n", LAST)),
    _refused("a chunk size beyond 64 bits", chunked(b"1" + b"0" * 16 + b"\r\n", LAST)),
    _refused("a chunk size of 9,000 digits", chunked(b"F" * 9000 + b"\r\n", LAST)),
    _refused("an empty chunk size", chunked(b"\r\n12345\r\n", LAST)),
    _refused("a space after a chunk size", chunked(b"5 \r\n12345\r\n", LAST)),
    _refused("a space before a chunk size", chunked(b" 5\r\n12345\r\n", LAST)),
    _refused("a chunk size that ends with LF", chunked(b"5\n12345\r\n", LAST)),
    _refused("a chunk size that ends with CR", chunked(b"5\r12345\r\n", LAST)),
    _refused("a chunk longer than its size", chunked(b"3\r\n12345\r\n", LAST)),
    _refused("a chunk that ends with LF", chunked(b"5\r\n12345\n", LAST)),
    _refused("a last chunk that ends with LF", chunked(chunk(), b"0\n\n")),
    _refused("a chunk extension with LF", chunked(b"5;a\nb\r\n12345\r\n", LAST)),
    _refused("a chunk extension with NUL", chunked(chunk(extension=b";a\0b"), LAST)),
    Case("a chunk extension of 100 kB", chunked(chunk(extension=b";" + b"a" * 100_000), LAST), 200),
    Case("a chunk extension", chunked(chunk(extension=b";a=b"), LAST), 200),
    Case("a trailer", chunked(chunk(), b"0\r\nX: y\r\n\r\n"), 200),
    _refused("a trailer with NUL", chunked(chunk(), b"0\r\nX: a\0b\r\n\r\n")),
    _refused("a trailer of 9 kB", chunked(chunk(), b"0\r\nX: " + b"y" * 9000 + b"\r\n\r\n")),
    _refused("200 trailers", chunked(chunk(), b"0\r\n", b"X: y\r\n" * 200, b"\r\n")),
    _refused("a length in the trailers", chunked(chunk(), b"0\r\nContent-Length: 5\r\n\r\n")),
    # What is behind
    _refused("garbage in one packet with a request", LIVE + b"garbage\r\n\r\n"),
    _refused("zeros in one packet with a request", LIVE + bytes(100)),
    _refused("garbage in one packet with a body", post() + b"garbage\r\n\r\n"),
    Case("garbage behind a request", LIVE, 200, later=b"garbage\r\n\r\n", then=400),
    Case("zeros behind a request", LIVE, 200, later=bytes(100), then=400),
    Case("garbage behind a body", post(), 200, later=b"garbage\r\n\r\n", then=400),
    Case("a wrong length behind a body", post(), 200, later=_length("-1"), then=400),
    Case("another version behind a request", LIVE, 200, later=b"GET / HTTP/9.9\r\n\r\n", then=400),
    Case("HTTP/0.9 behind a request", LIVE, 200, later=b"GET /\r\n\r\n", then=400),
    Case("a request behind one that is refused", get("/nothing") + LIVE, 404, "not_found"),
    Case("line ends in front of a request", b"\r\n\r\n" + LIVE, 200),
    _refused("a request behind one that closes", get("/livez", "Connection: close") + SMUGGLED),
    _refused("a request behind one of 1.0", request("GET /livez HTTP/1.0") + SMUGGLED),
    Case("100 requests at once", LIVE * 100, 200),
    Case("a request inside a length", post(SMUGGLED), 415, "unsupported_image"),
    Case("a head that never comes", b"\r\n" * 1000, SILENCE, half_closed=True),
    # Methods that change the protocol
    _refused("CONNECT", request("CONNECT example.org:443 HTTP/1.1")),
    _refused("CONNECT with a request behind it",
             request("CONNECT example.org:443 HTTP/1.1") + SMUGGLED),
    _refused("CONNECT with a body", request("CONNECT x:1 HTTP/1.1", "Content-Length: 5",
                                            body=b"12345")),
    Case("an upgrade to websocket",
         get("/livez", "Connection: Upgrade", "Upgrade: websocket"), 200),
    Case("an upgrade to h2c", get("/livez", "Connection: Upgrade, HTTP2-Settings",
                                  "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"), 200),
    Case("an upgrade with a body behind it",
         post(IMAGE, "image/png", "Connection: Upgrade", "Upgrade: websocket"), 200),
    Case("garbage behind an upgrade", get(f"/predictResults/{UNKNOWN}", "Connection: Upgrade",
         "Upgrade: websocket") + b"garbage\r\n\r\n", 404, "not_found", then=400),
)  # fmt: skip
