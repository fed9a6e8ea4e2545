"""What wraps every handler: the request's id, and the mapping of errors to replies."""

import logging
import re
import uuid
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from server.errors import (
    MalformedRequestError,
    MethodNotAllowedError,
    NotFoundError,
    QueueFullError,
    ServerError,
    TooManyBytesError,
)
from server.web import replies
from server.web.keys import HEALTH, PACE
from server.web.protocol import SERVER, BrokenFramingError, refusal, require_sound_head

log = logging.getLogger(__name__)

REQUEST_ID: Final = web.RequestKey("request_id", str)
_ACCEPTED_ID: Final = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every exception into a reply in the one envelope; nothing else does."""
    try:
        require_sound_head(request)
        return await handler(request)
    except BrokenFramingError as error:
        return refusal(error)
    except QueueFullError as error:
        await request.app[PACE].turn()
        return replies.failure(error)
    except ServerError as error:
        return replies.failure(error)
    except web.HTTPException as error:
        return _from_aiohttp(request, error)
    except Exception as error:
        if isinstance(error, ConnectionError) and _has_left(request):
            raise  # aiohttp lets it go: there is no one to tell
        log.exception("%s %s failed [%s]", request.method, request.path, request[REQUEST_ID])
        return replies.failure(
            ServerError(
                "The server failed; it is not your request's fault. Its log says more under"
                f" {request[REQUEST_ID]}."
            )
        )


@web.middleware
async def identify(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give every request an id, its client's `X-Request-ID` or a new one, and count it."""
    offered = request.headers.get("X-Request-ID", "")
    request[REQUEST_ID] = offered if _ACCEPTED_ID.fullmatch(offered) else uuid.uuid4().hex
    with request.app[HEALTH].answering():
        return await handler(request)


async def echo_request_id(request: web.Request, response: web.StreamResponse) -> None:
    """Tell the client the id, on every reply, and no version (a response-prepare signal)."""
    if REQUEST_ID in request:  # or it was refused before it had one
        response.headers["X-Request-ID"] = request[REQUEST_ID]
    response.headers[hdrs.SERVER] = SERVER


def _has_left(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def _from_aiohttp(request: web.Request, error: web.HTTPException) -> web.StreamResponse:
    if isinstance(error, web.HTTPNotFound):
        return replies.failure(NotFoundError(f"There is nothing at {request.path[:200]}."))
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return replies.failure(
            MethodNotAllowedError(f"{request.path[:200]} takes {allowed}, not {error.method}."),
            headers={hdrs.ALLOW: allowed},
        )
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return replies.failure(TooManyBytesError("The request is larger than this server takes."))
    if error.status < 400:
        raise error
    return replies.failure(MalformedRequestError(error.reason))
