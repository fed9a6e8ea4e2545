"""Constants: replies that are the same for everybody, as long as the server runs."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from aiohttp import hdrs, web

_ASK_FIRST: Final = "no-cache"
"""What is kept is used only once the server has said that it has not changed."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A body, told once to clients that keep it.

    Attributes:
        body: The text.
        content_type: Without its charset, which is UTF-8.
        headers: More of them.
    """

    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)
    etag: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "etag", hashlib.sha256(self.body).hexdigest()[:32])

    def reply(self, request: web.Request) -> web.Response:
        """The body, or 304 where the client has it."""
        known = {each.value for each in request.if_none_match or () if not each.is_weak}
        headers = {**self.headers, hdrs.CACHE_CONTROL: _ASK_FIRST}
        if known & {self.etag, "*"}:
            reply = web.Response(status=304, headers=headers)
        else:
            reply = web.Response(
                body=self.body, headers=headers, content_type=self.content_type, charset="utf-8"
            )
        reply.etag = self.etag
        return reply
