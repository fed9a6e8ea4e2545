"""The access log: one line a request."""

from aiohttp.abc import AbstractAccessLogger
from aiohttp.web import BaseRequest, StreamResponse


class AccessLog(AbstractAccessLogger):
    """Logs method, path, status, milliseconds and request id."""

    def log(self, request: BaseRequest, response: StreamResponse, time: float) -> None:
        """Write the line of a finished request."""
        fields = {
            "method": request.method,
            "path": request.path_qs,
            "status": response.status,
            "ms": round(time * 1000),
            "request_id": response.headers.get("X-Request-ID", "-"),
        }
        self.logger.info(
            "%(method)s %(path)s %(status)d %(ms)d ms %(request_id)s", fields, extra=fields
        )
