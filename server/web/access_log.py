"""The access log: one line a request, without anything that could be a secret."""

from http import HTTPStatus
from typing import Final

from aiohttp.abc import AbstractAccessLogger
from aiohttp.web import BaseRequest, Request, RequestKey, StreamResponse

CALLER: Final = RequestKey("caller", str)
"""The name of the key that a request was made with."""

SHOWN: Final = frozenset({"save_locally", "status", "limit", "since", "cursor"})
"""The parameters that are logged, being the server's; any other could hold a key or a token."""


class AccessLog(AbstractAccessLogger):
    """Logs method, path, status, milliseconds, request id and the name of the API key."""

    def log(self, request: BaseRequest, response: StreamResponse, time: float) -> None:
        """Write the line of a finished request."""
        fields = {
            "method": request.method,
            "path": _shown(request, known=response.status != HTTPStatus.UNAUTHORIZED),
            "status": response.status,
            "ms": round(time * 1000),
            "request_id": response.headers.get("X-Request-ID", "-"),
        }
        line = "%(method)s %(path)s %(status)d %(ms)d ms %(request_id)s"
        if CALLER in request:
            fields["caller"] = request[CALLER]
            line += " by %(caller)s"
        self.logger.info(line, fields, extra=fields)


def _shown(request: BaseRequest, *, known: bool) -> str:
    """The path, and the query as far as it is the server's.

    Args:
        request: What was asked.
        known: Who calls is known, or need not be. Else the path, which could hold a key, is shown
            as its route has it.
    """
    hidden = request.query.keys() - SHOWN
    query = request.rel_url.without_query_params(*hidden).raw_query_string
    shown = "&".join([query] * bool(query) + ["..."] * bool(hidden))
    path = request.rel_url.raw_path if known else _route(request)
    return f"{path}?{shown}" if shown else path


def _route(request: BaseRequest) -> str:
    resource = request.match_info.route.resource if isinstance(request, Request) else None
    return resource.canonical if resource else "..."
