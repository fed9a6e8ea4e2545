"""Forms: the parts of a multipart/form-data body."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from multipart import MultipartError, MultipartSegment, PushMultipartParser

from server.errors import MalformedRequestError, TooManyBytesError, UnsupportedMediaTypeError

MAX_PARTS: Final = 16
MAX_FIELD: Final = 2**16
"""Most bytes of a part that is no image."""

_TYPE: Final = re.compile(r"[ \t]*multipart/form-data[ \t]*", re.IGNORECASE)
_PARAMETER: Final = re.compile(
    r"""; [ \t]* ([\w!#$%&'*+.^`|~-]+) = (?: "([^"\\]*)" | ([^\s;"\\]+) ) [ \t]*""",
    re.ASCII | re.VERBOSE,
)
_BOUNDARY: Final = re.compile(r"[\w'()+,./:=? -]{0,69}[\w'()+,./:=?-]", re.ASCII)  # RFC 2046
_OPTION: Final = re.compile(r"""; *([\w-]+) *= *(?:[^\s;"]+|"[^\\"]*(?:\\.[^\\"]*)*")""")
_HEADER: Final = re.compile(rb"[\w!#$%&'*+.^`|~-]+:[^\0-\x08\x0a-\x1f\x7f]*")
NAME_PATTERN: Final = r"^[^\x00-\x08\x0A-\x1F\x7F]*$"
"""What the name of a part may be."""

_PLAIN: Final = frozenset({"binary", "8bit", "7bit"})


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a form: its field name, the file name if it is a file, and its bytes."""

    name: str
    file_name: str | None
    data: bytes


class _Parser(PushMultipartParser):  # type: ignore[misc]  # it ships no types
    """The library's, which forgives spaces and line ends around a header's name; others don't."""

    def _on_segment_headerline(self, line: bytes) -> None:
        if not _HEADER.fullmatch(line):
            raise ValueError("a part has a malformed header, or a control character in one")
        super()._on_segment_headerline(line)


def parse(body: bytes, content_type: str) -> list[Part]:
    """The parts of a form, in their order.

    Args:
        body: The whole body.
        content_type: The request's header, which names the boundary.

    Raises:
        MalformedRequestError: The body is not what the header says, or has too many parts.
        UnsupportedMediaTypeError: A part is encoded, or a form itself.
        TooManyBytesError: A field other than the image is too large.
    """
    try:
        return list(_parts(body, _boundary(content_type)))
    except (MultipartError, ValueError) as error:
        raise MalformedRequestError(
            f"The body is no proper multipart/form-data ({error.args[0]})."  # the rest: its bytes
            " Let your HTTP client build it, its boundary too: curl -F image=@photo.jpg"
        ) from error


def _boundary(content_type: str) -> str:
    """The one boundary that the header names; a header that could be read otherwise is refused."""
    found, at = [], 0
    if kind := _TYPE.match(content_type):
        at = kind.end()
    while parameter := _PARAMETER.match(content_type, at):
        at = parameter.end()
        if parameter[1].lower() == "boundary":
            found.append(parameter[2] if parameter[2] is not None else parameter[3])
    if at < len(content_type.rstrip("; \t")):
        raise ValueError("its Content-Type is malformed")
    if len(found) != 1 or not _BOUNDARY.fullmatch(found[0]):
        raise ValueError("its Content-Type must have one boundary of 1 to 70 characters")
    return found[0]


def _parts(body: bytes, boundary: str) -> Iterator[Part]:
    segment: MultipartSegment | None = None
    chunks: list[bytes] = []
    with _Parser(boundary, max_segment_count=MAX_PARTS, strict=True) as parser:
        for event in parser.parse(body):
            if isinstance(event, MultipartSegment):
                _check(event)
                segment, chunks = event, []
            elif event is not None:
                chunks.append(event)
            elif segment:
                yield _part(segment, _unambiguous(b"".join(chunks), boundary))


def _unambiguous(data: bytes, boundary: str) -> bytes:
    """The bytes of a part, unless others would read an empty part and one more in their place."""
    if data.startswith(f"--{boundary}".encode("ascii")):
        raise ValueError("a part begins with the boundary")
    return data


def _part(segment: MultipartSegment, data: bytes) -> Part:
    name = segment.name or ""
    if name != "image" and len(data) > MAX_FIELD:
        raise TooManyBytesError(
            f"The field {name[:40]!r} has {len(data):,} bytes; a field other than image may have"
            f" {MAX_FIELD:,}."
        )
    return Part(name, segment.filename, data)


def _check(segment: MultipartSegment) -> None:
    """Refuse a part that could be read in two ways, or that would have to be decoded first."""
    headers = dict(segment.headerlist)
    if len(headers) < len(segment.headerlist):
        raise ValueError("a part has a header twice")
    options = [name.lower() for name in _OPTION.findall(headers["Content-Disposition"])]
    if len(set(options)) < len(options):
        raise ValueError("a part has a name twice")
    coded = headers.get("Content-Transfer-Encoding", "binary").strip().lower() not in _PLAIN
    if coded or headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMediaTypeError(
            "A part of the form is encoded. Send its bytes as they are, without"
            " Content-Transfer-Encoding and Content-Encoding."
        )
    if (segment.content_type or "").startswith(("multipart/", "message/")):
        raise UnsupportedMediaTypeError(
            "A part of the form is a form or message itself. Send the image itself as the part."
        )
