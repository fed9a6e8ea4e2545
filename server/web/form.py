"""Forms: the parts of a multipart/form-data body."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from server.errors import MalformedRequestError

MAX_PARTS: Final = 16


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a form: its field name, the file name if it is a file, and its bytes."""

    name: str
    file_name: str | None
    data: bytes


def parse(body: bytes, content_type: str) -> list[Part]:
    """The parts of a form, in their order.

    Args:
        body: The whole body.
        content_type: The request's header, which names the boundary.

    Raises:
        MalformedRequestError: The body is not what the header says, or has too many parts.
    """
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    try:
        return list(_parts(body, boundary))
    except (MultipartError, ValueError) as error:
        raise MalformedRequestError(
            f"The body is no proper multipart/form-data ({error})."
            " Let your HTTP client build it, its boundary too: curl -F image=@photo.jpg"
        ) from error


def _parts(body: bytes, boundary: str) -> Iterator[Part]:
    segment: MultipartSegment | None = None
    chunks: list[bytes] = []
    with PushMultipartParser(boundary, max_segment_count=MAX_PARTS, strict=True) as parser:
        for event in parser.parse(body):
            if isinstance(event, MultipartSegment):
                segment, chunks = event, []
            elif event is not None:
                chunks.append(event)
            elif segment:
                yield Part(segment.name or "", segment.filename, b"".join(chunks))
