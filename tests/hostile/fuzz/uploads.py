"""What must hold for every upload: the input is a Content-Type, a line end, and the body."""

import asyncio
import json
import random
import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, cast

from aiohttp import MultipartReader, hdrs, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.multipart import BodyPartReader
from aiohttp.streams import StreamReader

from server.errors import ServerError
from server.store import Upload
from server.web import form, replies
from server.web.protocol import MAX_LINE
from server.web.upload import UploadReader
from tests.hostile.corpus import FAMILIES
from tests.hostile.wire import FORM

MAX_BYTES: Final = 8_192
"""Most bytes of a body: a small cap, so that what is beyond it is met often."""

MAX_SENTENCE: Final = 1_000
MEMORY: Final = 1_000_000
"""Bytes that reading a form may take beside its own: 700 kB go to a regular expression, that of the
library for a header of 4 kB."""


_LOOP: Final = asyncio.new_event_loop()
_READER: Final = UploadReader(MAX_BYTES, 60, None, min_rate=0, budget=2 * MAX_BYTES)
_NOTHING: Final[Any] = None  # what a request has, but its reader needs not
_HANDLER: Final = web.RequestHandler(web.Server(_NOTHING, loop=_LOOP), loop=_LOOP)
TOKENS: Final = (
    *(b"\r\n", b"\n", b"\r", b"\0", b"--XX", b"\r\n--XX", b"\r\n--XX\r\n", b"\r\n--XX--\r\n"),
    *(b": ", b";", b'"', b'\\"', b"%22", b"=", b"\xff", b"\xc3\xbc", b"name=", b"filename=", b"''"),
    *(b"filename*=UTF-8''%c3%bc", b'; name="image"', b'name="save_locally"\r\n\r\ntrue', b" \t"),
    *(b"Content-Disposition: form-data", b"Content-Type: ", b"Content-Length: 3\r\n", b"boundary="),
    *(b"Content-Transfer-Encoding: base64\r\n", b"Content-Encoding: gzip\r\n", b"multipart/mixed"),
    *(FORM.encode() + b"\n", b"image/png\n", b"application/octet-stream\n", b"--"),
    b"\r\nX: " + b"y" * 4100,
)


def seeds() -> Iterator[bytes]:
    """The uploads of the corpus."""
    for case in (*FAMILIES["forms"], *FAMILIES["bodies"]):
        head, _, body = case.sent.partition(b"\r\n\r\n")
        kind = head.partition(b"Content-Type: ")[2].partition(b"\r\n")[0]
        if len(body) < 3 * MAX_BYTES:
            yield kind + b"\n" + body


class Refusal(NamedTuple):
    """How an upload was refused."""

    status: int
    sentence: str


def check(data: bytes) -> bool:
    """Send an upload in two ways.

    Returns:
        Whether it was accepted.

    Raises:
        AssertionError: Something does not hold.
        Exception: The server's code raised what it may not raise.
    """
    kind, _, body = data.partition(b"\n")
    kind = kind.replace(b"\r", b"")  # or it would be another header
    dice = random.Random(zlib.crc32(data))
    whole = _LOOP.run_until_complete(_read(iter([_measured(kind, body)])))
    in_pieces = dice.choice((_pieces(_measured(kind, body), dice), _chunked(kind, body, dice)))
    assert _LOOP.run_until_complete(_read(in_pieces)) == whole, "it depends on how it is cut"
    if isinstance(whole, Refusal):
        assert 400 <= whole.status < 500
        assert 0 < len(whole.sentence) <= MAX_SENTENCE
        return False
    _check_accepted(whole, kind, body)
    return True


def _check_accepted(upload: Upload, kind: bytes, body: bytes) -> None:
    assert upload.data
    assert len(body) <= MAX_BYTES
    assert 0 < len(upload.name.encode()) <= 4 * 255
    _check_json(replies.json_reply({"image": upload.name}))
    content_type = kind.decode("utf-8", "surrogateescape")
    if not content_type.strip().lower().startswith("multipart/"):
        assert upload.data == body
        return
    parts = _parsed(body, content_type)
    assert [part.data for part in parts if part.name == "image"] == [upload.data]
    second_opinion = _LOOP.run_until_complete(_second_opinion(content_type, body))
    assert second_opinion in (None, [part.data for part in parts])


def _check_json(reply: web.Response) -> None:
    json.loads(cast("bytes", reply.body))


def _parsed(body: bytes, content_type: str) -> list[form.Part]:
    """The parts, read in little more memory than the body has."""
    tracemalloc.start()
    try:
        parts = form.parse(body, content_type)
        assert tracemalloc.get_traced_memory()[1] < 3 * len(body) + MEMORY
        return parts
    finally:
        tracemalloc.stop()


def _measured(kind: bytes, body: bytes) -> bytes:
    return _head(kind, b"Content-Length: %d" % len(body)) + body


def _chunked(kind: bytes, body: bytes, dice: random.Random) -> Iterator[bytes]:
    yield _head(kind, b"Transfer-Encoding: chunked")
    for chunk in _pieces(body, dice):
        yield b"%x\r\n%b\r\n" % (len(chunk), chunk)
    yield b"0\r\n\r\n"


def _head(kind: bytes, length: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: %b\r\n%b\r\n\r\n" % (kind, length)


def _pieces(data: bytes, dice: random.Random) -> Iterator[bytes]:
    """The bytes, cut at a few places, or (one in 20, it takes long) at every one."""
    most = 1 if len(data) < 500 and dice.random() < 0.05 else dice.choice((50, 500, 5_000))
    at = 0
    while at < len(data):
        to = at + dice.randint(1, most)
        yield data[at:to]
        at = to


class _Wire(asyncio.Transport):
    """A connection that need not be held back: what it carries is small."""

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def _connected() -> BaseProtocol:
    protocol = BaseProtocol(_LOOP)
    protocol.connection_made(_Wire())
    return protocol


async def _read(sent: Iterator[bytes]) -> Upload | Refusal:
    """What the server's reader makes of a request that comes in these pieces."""
    parser = HttpRequestParser(
        _connected(), _LOOP, 2**16, max_line_size=MAX_LINE, max_field_size=MAX_LINE
    )
    try:
        request = _begun(parser, sent)
        reading = _LOOP.create_task(_READER.read(request))
        for number, piece in enumerate(sent):
            if number % 8 == 0:  # each time would take long
                await asyncio.sleep(0)
            if reading.done():
                break
            parser.feed_data(piece)
        return await reading
    except BadHttpMessage as error:
        return Refusal(error.code, "It is no HTTP.")
    except ServerError as error:
        _check_json(replies.failure(error))
        return Refusal(error.status, error.sentence)


def _begun(parser: Any, sent: Iterator[bytes]) -> web.Request:  # Any: aiohttp's, in C or Python
    """The request, once its head is there."""
    messages: list[Any] = []
    while not messages:
        messages, _, _ = parser.feed_data(next(sent))
    message, payload = messages[0]
    return web.Request(message, payload, _HANDLER, _NOTHING, _NOTHING, _LOOP)


async def _second_opinion(kind: str, body: bytes) -> list[bytes] | None:
    """The parts of a form as aiohttp reads them, which shares no code with ours; None: it can't."""
    stream = StreamReader(_connected(), 2**16, loop=_LOOP)
    stream.feed_data(body)
    stream.feed_eof()
    parts = []
    try:
        reader = MultipartReader({hdrs.CONTENT_TYPE: kind}, stream)
        while part := await reader.next():
            assert isinstance(part, BodyPartReader)
            parts.append(bytes(await part.read()))
    except (ValueError, BadHttpMessage):
        return None
    return parts
