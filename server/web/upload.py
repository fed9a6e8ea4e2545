"""Uploads: the one way in for every body."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from aiohttp import ClientPayloadError, HttpVersion11, StreamReader, hdrs, web

from server.errors import (
    EmptyImageError,
    MalformedRequestError,
    NoImageError,
    SlowBodyError,
    TooManyBytesError,
    TooManyUploadsError,
    UnsupportedMediaTypeError,
)
from server.model.header import ImageLimits, inspect
from server.store import Upload
from server.web import form, parameters
from server.web.protocol import BrokenFramingError

BARE_NAME: Final = "image"
"""The file name of an image that came without one."""

MAX_NAME: Final = 255
"""Characters kept of a client's file name, the longest name of a file."""


GRACE_SECONDS: Final = 5.0
"""How long a body may take to get going before its rate counts."""


@dataclass(slots=True)
class UploadReader:
    """Reads the image out of a request, refusing early what can't be one.

    Attributes:
        max_bytes: Largest body.
        timeout: Seconds in which the whole body must arrive.
        limits: What the image may be; None when the model decodes by itself.
        min_rate: Bytes a second, on the mean, at which a body must arrive.
        budget: Most bytes of all bodies that are being read at once; one alone is always read.
    """

    max_bytes: int
    timeout: float
    limits: ImageLimits | None
    min_rate: int
    budget: int
    _reserved: int = field(default=0, init=False)

    async def read(self, request: web.Request) -> Upload:
        """The image of a form's part `image`, or of a bare `image/*` body.

        Raises:
            ServerError: The sentence says what is wrong with the request (4xx).
        """
        is_form = _is_form(request)
        save = request.query.get("save_locally")
        saves = None if save is None else parameters.boolean("save_locally", save)
        body = await self._body(request)
        if is_form:
            upload = _from_form(form.parse(body, request.headers[hdrs.CONTENT_TYPE]))
        else:
            upload = Upload(body, BARE_NAME)
        self._check(upload)
        return upload if saves is None else replace(upload, save_locally=saves)

    def _check(self, upload: Upload) -> None:
        if not upload.data:
            raise EmptyImageError("The image is empty: it has no bytes.")
        if self.limits:
            inspect(upload.data, self.limits)

    async def _body(self, request: web.Request) -> bytes:
        length, content = request.content_length, request.content
        self._check_size(length or 0)
        try:
            if content.is_eof():  # it came with its head: neither room nor a clock is needed
                body = content.read_nowait()
                self._check_size(len(body))
                return body
            with self._reserve(self.max_bytes if length is None else length):
                await _ask_for_body(request)
                return await self._arrival(content)
        except (ClientPayloadError, web.RequestPayloadError) as error:
            raise BrokenFramingError("The body ended early or is wrongly framed.") from error

    async def _arrival(self, content: StreamReader) -> bytes:
        """The body, in time. The clock is set anew only when it runs out: mostly never."""
        clock = asyncio.get_running_loop().time
        began, size = clock(), 0
        chunks: list[bytes] = []
        while not content.at_eof():
            try:
                async with asyncio.timeout_at(began + self._seconds_for(size)):
                    async for chunk in content.iter_any():
                        size += len(chunk)
                        self._check_size(size)
                        chunks.append(chunk)
            except TimeoutError:
                self._check_time(clock() - began, size)
        return b"".join(chunks)

    def _seconds_for(self, size: int) -> float:
        """How long a body may have taken of which only so many bytes are there."""
        if not self.min_rate:
            return self.timeout
        return min(self.timeout, max(GRACE_SECONDS, size / self.min_rate))

    def _check_time(self, seconds: float, size: int) -> None:
        if seconds >= self.timeout:
            raise SlowBodyError(f"The body did not arrive within {self.timeout:g} s.")
        if seconds >= self._seconds_for(size):
            raise SlowBodyError(
                f"The body arrived more slowly than {self.min_rate:,} bytes a second:"
                f" {size:,} bytes in {seconds:.0f} s."
            )

    @contextmanager
    def _reserve(self, size: int) -> Iterator[None]:
        """Set room aside for a body before any of it is awaited."""
        if self._reserved and self._reserved + size > self.budget:
            raise TooManyUploadsError(
                "The server is reading as many uploads as it has room for. Try again later.",
                retry_after=1,
            )
        self._reserved += size
        try:
            yield
        finally:
            self._reserved -= size

    def _check_size(self, size: int) -> None:
        if size > self.max_bytes:
            raise TooManyBytesError(
                f"The body is larger than {self.max_bytes:,} bytes, the most this server takes."
                " Send a smaller image."
            )


async def expect(_: web.Request) -> None:
    """Say nothing yet to `Expect: 100-continue`: a request that is refused is not continued.

    A route's expect handler; the reader asks for the body when it has room for it.
    """


async def _ask_for_body(request: web.Request) -> None:
    if request.headers.get(hdrs.EXPECT, "").lower() != "100-continue":
        return
    if request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the reply itself has not begun


def _is_form(request: web.Request) -> bool:
    """Whether the body is a form; else it is an image."""
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise UnsupportedMediaTypeError("Send the body as it is, without Content-Encoding.")
    # Not request.content_type, which takes what is no type for application/octet-stream.
    kind = request.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return True
    if kind.startswith("image/") or kind == "application/octet-stream":
        return False
    raise UnsupportedMediaTypeError(
        "Send a form with a part named image (curl -F image=@photo.jpg), or the image"
        " itself as the body with its Content-Type, such as image/jpeg."
    )


def _from_form(parts: Sequence[form.Part]) -> Upload:
    images = [part for part in parts if part.name == "image"]
    if len(images) > 1:
        raise MalformedRequestError("The form has several parts named image. Send one at a time.")
    if not images:
        names = ", ".join(sorted({repr(part.name[:40]) for part in parts})) or "none at all"
        raise NoImageError(
            f"The form has no part named image; its parts: {names}. Use curl -F image=@photo.jpg"
        )
    save = False
    for part in parts:
        if part.name == "save_locally":
            save = parameters.boolean(part.name, part.data.decode("utf-8", "replace"))
    name = images[0].file_name or BARE_NAME
    return Upload(images[0].data, name[-MAX_NAME:], save)
