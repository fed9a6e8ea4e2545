"""The HTTP of a connection: aiohttp's, but what is no HTTP is refused as all else is."""

import asyncio
import logging
import re
import uuid
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, Protocol, cast, runtime_checkable

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion10, HttpVersion11, RawRequestMessage

from server.errors import InvalidParameterError, MalformedRequestError, ServerError
from server.web import replies
from server.web.access_log import AccessLog

log = logging.getLogger(__name__)

SERVER: Final = "server"
"""What replies say of the server: no name and no version that an attacker could look up."""

MAX_LINE: Final = 8190
"""Bytes of the first line of a request, and of each header."""

MAX_HEADERS: Final = 64
"""Headers of a request, trailers among them."""

READ_BUFFER: Final = 2**16
"""Bytes read ahead of a handler: each of those whose requests wait to be refused can pin twice
as much. More makes reading no faster.
"""

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_MAX_REASON: Final = 100
_BYTES: Final = re.compile(r"""\n\n|: b?['"]|line ['"]""")
"""Where in the parser's messages the bytes begin that it shows."""


class BrokenFramingError(MalformedRequestError):
    """Where the request ends can't be told: nothing more can be read from its connection."""


@runtime_checkable
class Refusing(Protocol):
    """What stands before this protocol, and can end a connection so that its client hears why."""

    def refuse(self, reply: bytes) -> None:
        """Send the last reply, and wait until the client has read it."""

    def linger(self) -> None:
        """The last reply is sent: wait until the client has read it."""


class HttpProtocol(web.RequestHandler):
    """Answers what can't be parsed in the one envelope, without a traceback in the log."""

    _broken = False

    @classmethod
    def of(cls, server: web.Server, keepalive: float, lingering: float) -> "HttpProtocol":
        """That of a new connection, with every limit.

        Not made by aiohttp's server, which drops them all without a word if one is misspelled.

        Args:
            server: What answers.
            keepalive: Seconds that an idle connection is kept.
            lingering: Seconds in which what a refused client still sends is read.
        """
        return cls(
            server,
            loop=asyncio.get_running_loop(),
            access_log=logging.getLogger("server.access"),
            access_log_class=AccessLog,
            auto_decompress=False,  # nothing compressed is taken
            keepalive_timeout=keepalive,
            lingering_time=lingering,
            max_field_size=MAX_LINE,
            max_headers=MAX_HEADERS,
            max_line_size=MAX_LINE,
            read_bufsize=READ_BUFFER,
        )

    def data_received(self, data: bytes) -> None:
        """Parse what came.

        A body that turns out to be broken ends the request that reads it. aiohttp would leave it
        waiting for the rest, and answer the rest as a request of its own.
        """
        super().data_received(data)
        request = self._current_request
        if not self._messages or request is None or request.content.is_eof():
            return
        if not isinstance(self._messages[-1][0], RawRequestMessage):
            self._messages.pop()
            request.content.set_exception(web.RequestPayloadError("The body is wrongly framed."))
            request.content.feed_eof()
            self._broken = True
            self.close()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send a reply, and log it. After a broken body its client may be sending still."""
        sent = await super().finish_response(request, resp, start_time)
        if self._broken and (guard := self._leave_to_guard()):
            guard.linger()
        return sent

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The last reply of a connection: to what is no request, or to a failure of the server."""
        if self.transport is None or self.transport.is_closing() or request.writer.output_size:
            raise ConnectionError("There is no one to reply to, or a reply is on its way already.")
        request_id = uuid.uuid4().hex
        if status != HTTPStatus.BAD_REQUEST:
            log.error("%s %s failed [%s]", request.method, request.path, request_id, exc_info=exc)
            failed = ServerError("The server failed; it is not your request's fault.")
            return refusal(failed, request_id)
        reason = _reason(message or "")
        log.info("refused what is no request: %r [%s]", reason, request_id)
        error = BrokenFramingError(
            f"This is no proper HTTP/1.1 request ({reason}). Let an HTTP client build it."
        )
        reply = refusal(error, request_id)
        guard = self._leave_to_guard()
        if not guard:
            return reply
        self.log_access(request, reply, self._loop.time())
        guard.refuse(raw(reply))
        raise ConnectionError("The guard has replied.")

    def _leave_to_guard(self) -> Refusing | None:
        """Leave it to the guard to close the connection; None if it is closed, or has no guard.

        aiohttp would close it while the client still sends, which then might never see the reply.
        """
        if self.transport is None or self.transport.is_closing():
            return None
        guard = self.transport.get_protocol()
        if not isinstance(guard, Refusing):
            return None
        self.close()
        self.transport = None
        return guard


def expecting(answer: Answer) -> Answer:
    """What answers requests, but for those that expect what nobody knows.

    aiohttp answers them in front of all middlewares and in another form, or fails.
    """

    async def checked(request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get(hdrs.EXPECT, "100-continue").lower() != "100-continue":
            error = InvalidParameterError("Expect must be 100-continue, or not be sent.")
            return refusal(error, uuid.uuid4().hex)
        return await answer(request)

    return checked


def require_sound_head(request: web.BaseRequest) -> None:
    """Refuse what the parser lets pass, but another one on the way here could read otherwise.

    Raises:
        BrokenFramingError: The version, the transfer encoding or the method is not ours.
    """
    if request.version not in (HttpVersion11, HttpVersion10):
        raise BrokenFramingError("This server speaks HTTP/1.1.")
    if request.method == hdrs.METH_CONNECT:
        raise BrokenFramingError("This server is no proxy.")
    encodings = request.headers.getall(hdrs.TRANSFER_ENCODING, None)
    if encodings is None:
        return
    if request.version == HttpVersion10 or [each.lower() for each in encodings] != ["chunked"]:
        raise BrokenFramingError("Send the body with its length, or chunked, in HTTP/1.1.")


def refusal(error: ServerError, request_id: str | None = None) -> web.Response:
    """The reply to an error after which the connection is closed.

    Args:
        error: What is wrong.
        request_id: Its `X-Request-ID`, where no middleware sets it.
    """
    reply = replies.failure(error, headers={hdrs.CONNECTION: "close", hdrs.SERVER: SERVER})
    if request_id:
        reply.headers["X-Request-ID"] = request_id
    reply.force_close()
    return reply


def raw(reply: web.Response) -> bytes:
    """A reply as it goes over the wire, for where there is no request."""
    body = cast(bytes, reply.body)
    reply.headers[hdrs.CONTENT_LENGTH] = str(len(body))
    lines = [f"HTTP/1.1 {reply.status} {reply.reason}"]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _reason(message: str) -> str:
    """What the parser has to say, without the bytes that it shows: they could be a key."""
    said = _BYTES.split(message, maxsplit=1)[0]
    return " ".join(said.split())[:_MAX_REASON].rstrip(":")
