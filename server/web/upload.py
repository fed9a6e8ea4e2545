"""Uploads: the one way in for every body."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import ClientPayloadError, hdrs, web

from server.errors import (
    EmptyImageError,
    MalformedRequestError,
    NoImageError,
    SlowBodyError,
    TooManyBytesError,
    UnsupportedMediaTypeError,
)
from server.model.image import ImageLimits, inspect
from server.store import Upload
from server.web import form, parameters

BARE_NAME: Final = "image"
"""The file name of an image that came without one."""

MAX_NAME: Final = 255
"""Characters kept of a client's file name, the longest name of a file."""


@dataclass(slots=True)
class UploadReader:
    """Reads the image out of a request, refusing early what can't be one.

    Attributes:
        max_bytes: Largest body.
        timeout: Seconds in which the whole body must arrive.
        limits: What the image may be; None when the model decodes by itself.
    """

    max_bytes: int
    timeout: float
    limits: ImageLimits | None

    async def read(self, request: web.Request) -> Upload:
        """The image of a form's part `image`, or of a bare `image/*` body.

        Raises:
            ServerError: The sentence says what is wrong with the request (4xx).
        """
        if request.headers.get(hdrs.CONTENT_ENCODING, "identity") != "identity":
            raise UnsupportedMediaTypeError("Send the body as it is, without Content-Encoding.")
        kind = request.content_type
        if kind == "multipart/form-data":
            body = await self._body(request)
            upload = _from_form(form.parse(body, request.headers[hdrs.CONTENT_TYPE]))
        elif kind.startswith("image/") or (
            kind == "application/octet-stream" and hdrs.CONTENT_TYPE in request.headers
        ):
            upload = Upload(await self._body(request), BARE_NAME)
        else:
            raise UnsupportedMediaTypeError(
                "Send a form with a part named image (curl -F image=@photo.jpg), or the image"
                " itself as the body with its Content-Type, such as image/jpeg."
            )
        if "save_locally" in request.query:
            save = parameters.boolean("save_locally", request.query["save_locally"])
            upload = Upload(upload.data, upload.name, save)
        self._check(upload)
        return upload

    def _check(self, upload: Upload) -> None:
        if not upload.data:
            raise EmptyImageError("The image is empty: it has no bytes.")
        if self.limits:
            inspect(upload.data, self.limits)

    async def _body(self, request: web.Request) -> bytes:
        self._check_size(request.content_length or 0)
        await _ask_for_body(request)
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self.timeout):
                async for chunk in request.content.iter_any():
                    size += len(chunk)
                    self._check_size(size)
                    chunks.append(chunk)
        except TimeoutError:
            raise SlowBodyError(f"The body did not arrive within {self.timeout:g} s.") from None
        except (ClientPayloadError, web.RequestPayloadError) as error:
            raise MalformedRequestError("The body ended early or is wrongly framed.") from error
        return b"".join(chunks)

    def _check_size(self, size: int) -> None:
        if size > self.max_bytes:
            raise TooManyBytesError(
                f"The body is larger than {self.max_bytes:,} bytes, the most this server takes."
                " Send a smaller image."
            )


async def leave_unasked(_: web.Request) -> None:
    """What a route does at `Expect: 100-continue`: nothing, until its body is read.

    So the body of a request that is refused by its head alone is never sent.
    """


async def _ask_for_body(request: web.Request) -> None:
    """Answer `Expect: 100-continue`."""
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the reply proper has not begun


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
