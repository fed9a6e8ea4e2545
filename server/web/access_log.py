"""The access log: one line a request, without anything that could be a secret."""

import logging
from typing import Final

from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.web import BaseRequest, StreamResponse

from server.web.access import CALLER

SHOWN: Final = frozenset({"save_locally", "status", "limit", "since", "cursor"})
"""The parameters that are logged, being the server's; any other could hold a key or a token."""


class AccessLog(AbstractAccessLogger):
    """Logs method, path, status, milliseconds, request id and the name of the API key."""

    def log(self, request: BaseRequest, response: StreamResponse, time: float) -> None:
        """Write the line of a finished request."""
        fields = {
            "method": request.method,
            "path": _shown(request),
            "status": response.status,
            "ms": round(time * 1000),
            "request_id": response.headers.get("X-Request-ID", "-"),
        }
        line = "%(method)s %(path)s %(status)d %(ms)d ms %(request_id)s"
        if CALLER in request:
            fields["caller"] = request[CALLER]
            line += " by %(caller)s"
        self.logger.info(line, fields, extra=fields)


def _shown(request: BaseRequest) -> str:
    """The path, and the query as far as it is the server's."""
    hidden = request.query.keys() - SHOWN
    if not hidden:
        return request.path_qs
    shown = str(request.rel_url.without_query_params(*hidden))
    return f"{shown}{'&' if '?' in shown else '?'}..."


def quotes_nobody(record: logging.LogRecord) -> bool:
    """A filter of aiohttp's log: what it tells of a malformed request quotes it, keys and all.

    The request has its line in the access log.
    """
    return not (record.exc_info and isinstance(record.exc_info[1], BadHttpMessage))
