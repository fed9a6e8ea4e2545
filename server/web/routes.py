"""The routes: every URL of the server, and the scope of API keys that each needs."""

from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from server.web import handlers, upload
from server.web.api_keys import Scope

_BY_SCOPE: Final[dict[Scope | None, tuple[web.RouteDef, ...]]] = {
    None: (  # open to all
        web.get("/livez", handlers.livez),
        web.get("/readyz", handlers.readyz),
        web.get("/docs", handlers.docs),  # says nothing of this server: it reads the contract
        web.get("/docs/{file}", handlers.docs_file),
    ),
    Scope.READ: (
        web.get("/status", handlers.status),
        web.get("/predictResults", handlers.list_results),
        web.get("/predictResults/{request_id}", handlers.get_result),
        web.get("/openapi.json", handlers.openapi),
    ),
    Scope.PREDICT: (
        web.post("/predict", handlers.predict),
        web.post("/asyncPredict", handlers.async_predict),
        web.delete("/delete/{request_id}", handlers.delete),
    ),
    Scope.ADMIN: (
        web.delete("/deleteAll", handlers.delete_all),
        web.post("/import", handlers.import_all),
        web.post("/export", handlers.export_all),
    ),
}

PUBLIC: Final = tuple((route, scope) for scope, routes in _BY_SCOPE.items() for route in routes)
"""Every route, with its scope."""

SCOPES: Final[dict[Handler, Scope | None]] = {route.handler: scope for route, scope in PUBLIC}
"""What each handler needs; None: not even a key."""


async def _other(request: web.Request) -> web.StreamResponse:
    """What no other route takes: 405 where another method is taken, else 404.

    aiohttp's own would answer `Expect: 100-continue` before anybody asks who calls.
    """
    allowed: set[str] = set()
    for resource in request.app.router.resources():
        allowed |= (await resource.resolve(request))[1]
    if allowed := allowed - {"*"}:
        raise web.HTTPMethodNotAllowed(request.method, allowed)
    raise web.HTTPNotFound


def _silent(route: web.RouteDef) -> web.RouteDef:
    """A route that says nothing yet to `Expect: 100-continue`: the upload reader does."""
    arguments = route.kwargs | {"expect_handler": upload.expect}
    return web.RouteDef(route.method, route.path, route.handler, arguments)


ROUTES: Final = (
    *(_silent(route) for route, _ in PUBLIC),
    _silent(web.route("*", "/{path:(?s:.*)}", _other)),
)
