"""The words the corpus is written in: a case, and requests, forms and parts as bytes."""

from dataclasses import dataclass
from typing import Final

from tests.integration.requests import picture

IMAGE: Final = picture((9, 9, 9))
"""A small sound PNG."""

FORM: Final = "multipart/form-data; boundary=XX"
END: Final = b"--XX--\r\n"
NAMED: Final = 'form-data; name="image"; filename="a.png"'
UNKNOWN: Final = "123e4567-e89b-42d3-a456-426614174000"

MALFORMED: Final = "malformed_request"
PARAMETER: Final = "invalid_parameter"
MEDIA: Final = "unsupported_media_type"
UNSUPPORTED: Final = "unsupported_image"
UNDECODABLE: Final = "undecodable_image"
BYTES: Final = "too_many_bytes"
PIXELS: Final = "too_many_pixels"
METHOD: Final = "method_not_allowed"
NOT_FOUND: Final = "not_found"
ID: Final = "malformed_request_id"

SILENCE: Final = 0
"""The status of a case that is answered by nothing but the end of its connection."""


@dataclass(frozen=True, slots=True)
class Case:
    """One hostile request.

    Attributes:
        name: What is hostile about it.
        sent: Its bytes.
        status: That of the (first) reply; `SILENCE` if none may come.
        error: The code in its envelope; none if the reply is no error.
        later: Bytes that are sent once there is a first reply; a 100 is none.
        closed: The reply must be the only one, and the end of the connection.
        then: The status of a second reply on the same connection, which then must be closed.
        half_closed: The client says after the last byte that no more will come.
    """

    name: str
    sent: bytes
    status: int
    error: str | None = None
    later: bytes = b""
    closed: bool = False
    then: int | None = None
    half_closed: bool = False


def request(line: str, *headers: str, host: str | None = "x", body: bytes = b"") -> bytes:
    """A request as its bytes, the headers as they are given."""
    hosts = [] if host is None else [f"Host: {host}"]
    return "\r\n".join([line, *hosts, *headers, "", ""]).encode("latin-1") + body


def get(path: str, *headers: str) -> bytes:
    return request(f"GET {path} HTTP/1.1", *headers)


def post(
    body: bytes = IMAGE, kind: str | None = "image/png", *headers: str, path: str = "/predict"
) -> bytes:
    """A post of a body, with its length."""
    kinds = [] if kind is None else [f"Content-Type: {kind}"]
    lengths = [*kinds, f"Content-Length: {len(body)}", *headers]
    return request(f"POST {path} HTTP/1.1", *lengths, body=body)


def posted_form(body: bytes, kind: str = FORM, path: str = "/predict") -> bytes:
    """A post of a form whose body is given as it is."""
    return post(body, kind, path=path)


def part(data: bytes = IMAGE, disposition: str | None = NAMED, *headers: str) -> bytes:
    """A part of a form, without the end of the form."""
    lines = [*([f"Content-Disposition: {disposition}"] if disposition else []), *headers, "", ""]
    return b"--XX\r\n" + "\r\n".join(lines).encode("latin-1") + data + b"\r\n"


def field(name: str, value: str) -> bytes:
    return part(value.encode(), f'form-data; name="{name}"')


def posted_parts(*parts: bytes) -> bytes:
    """A post of a form of these parts, properly ended."""
    return posted_form(b"".join(parts) + END)


def chunked(*chunks: bytes, kind: str = "image/png") -> bytes:
    """A chunked post; the chunks are given as they go over the wire."""
    headers = (f"Content-Type: {kind}", "Transfer-Encoding: chunked")
    return request("POST /predict HTTP/1.1", *headers, body=b"".join(chunks))


def chunk(data: bytes = IMAGE, *, extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n" % (len(data), extension, data)


LAST: Final = b"0\r\n\r\n"
