"""Access: who may call what. With API keys, every request is checked before anything is read."""

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from multidict import CIMultiDictProxy

from server.errors import ForbiddenError, UnauthorizedError
from server.web import replies
from server.web.access_log import CALLER
from server.web.api_keys import ApiKeys
from server.web.routes import SCOPES


def authenticate(keys: ApiKeys) -> Middleware:
    """A middleware that lets through who has a key with the scope that the route needs.

    A path that does not exist needs a key, too: who has none learns nothing of the paths.
    """

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        route = request.match_info.handler
        if route in SCOPES and SCOPES[route] is None:
            return await handler(request)
        offered = _secrets(request.headers)
        key = keys.find(offered[0]) if len(offered) == 1 else None
        if key is None:
            return _unauthorized(len(offered))
        request[CALLER] = key.name
        scope = SCOPES.get(route)
        if scope and not key.allows(scope):
            raise ForbiddenError(
                f"The key {key.name} does not allow this: it takes one with the scope {scope}."
            )
        return await handler(request)

    return check


def _secrets(headers: CIMultiDictProxy[str]) -> list[str]:
    """The different keys that a request offers: what is on the way here may have looked at any."""
    credentials = (value.partition(" ") for value in headers.getall(hdrs.AUTHORIZATION, ()))
    bearers = {token.strip() for scheme, _, token in credentials if scheme.lower() == "bearer"}
    return list(bearers.union(headers.getall("X-API-Key", ())) - {""})


def _unauthorized(offered: int) -> web.Response:
    known = ("This needs an API key.", "This API key is unknown.")
    what = known[offered] if offered < 2 else "Several API keys were sent."
    error = UnauthorizedError(
        f"{what} Send one as Authorization: Bearer KEY, or as X-API-Key: KEY."
    )
    return replies.failure(error, headers={hdrs.WWW_AUTHENTICATE: "Bearer"})
