"""Other sites: which of their pages may call the server from a browser, if any (CORS)."""

from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from server.errors import ForbiddenError

METHODS: Final = "GET, HEAD, POST, DELETE"
REQUEST_HEADERS: Final = (
    "Authorization, X-API-Key, Content-Type, Idempotency-Key, Prefer, X-Request-ID"
)
REPLY_HEADERS: Final = "Location, Link, Retry-After, X-Request-ID, Preference-Applied"
MAX_AGE: Final = 3600
"""Seconds for which a browser need not ask again."""

_READING: Final = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})
_SEC_FETCH_SITE: Final = "Sec-Fetch-Site"


class Cors:
    """Tells browsers that pages of these origins may call, and read what is answered.

    Args:
        origins: Such as `https://a.example` and `http://localhost:3000`; with `*`, any page may.
    """

    def __init__(self, origins: frozenset[str]) -> None:
        self._origins: Final = origins

    def preflight(self) -> Middleware:
        """A middleware that answers what a browser asks before it calls; it sends no key then."""

        @web.middleware
        async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
            asked = hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
            if request.method != hdrs.METH_OPTIONS or not asked or not self._allows(request):
                return await handler(request)
            return web.Response(
                status=204,
                headers={
                    hdrs.ACCESS_CONTROL_ALLOW_METHODS: METHODS,
                    hdrs.ACCESS_CONTROL_ALLOW_HEADERS: REQUEST_HEADERS,
                    hdrs.ACCESS_CONTROL_MAX_AGE: str(MAX_AGE),
                },
            )

        return answer

    def refuse_others(self) -> Middleware:
        """A middleware that lets pages of other sites change nothing: a form needs no CORS."""

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.method in _READING or not _is_foreign(request) or self._allows(request):
                return await handler(request)
            raise ForbiddenError(
                "A page of another site sent this. This server takes it from a site only if it is"
                " started with that site's --cors-origin."
            )

        return check

    async def allow(self, request: web.Request, response: web.StreamResponse) -> None:
        """Tell the browser whether the page may read the reply (a response-prepare signal)."""
        if "*" not in self._origins:
            response.headers.add(hdrs.VARY, hdrs.ORIGIN)
        if self._allows(request):
            origin = "*" if "*" in self._origins else request.headers[hdrs.ORIGIN]
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = REPLY_HEADERS

    def _allows(self, request: web.Request) -> bool:
        return "*" in self._origins or request.headers.get(hdrs.ORIGIN) in self._origins


def _is_foreign(request: web.Request) -> bool:
    """Whether a page of another origin sent the request: only browsers tell, on their own.

    They tell the site to https and to this machine only; to others just the page's origin, which is
    foreign unless it is the host that was called.
    """
    if site := request.headers.get(_SEC_FETCH_SITE):
        return site not in ("same-origin", "none")
    origin = request.headers.get(hdrs.ORIGIN)
    return origin is not None and origin.partition("://")[2].lower() != request.host.lower()
