"""The answers in the document's terms: replies that are no errors, and errors by their status."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from server import errors
from server.errors import ServerError
from server.web.contract.bodies import Failure
from server.web.contract.operation import JSON, Answer, Header
from server.web.contract.schemas import Schemas

Json = dict[str, Any]  # Any: what JSON can say

ANYWHERE: Final = (
    *(errors.MalformedRequestError, errors.InvalidParameterError, errors.SlowHeadError),
    *(ServerError, errors.TooManyConnectionsError),
)
"""The errors that every call may meet: those of connections, and of the server."""

_TEXT: Final = {"type": "string"}
_ID: Final = Header("X-Request-ID", "The request's id in the server's log.", _TEXT, always=True)
_MAYBE_ID: Final = Header(_ID.name, _ID.what, _TEXT)
_SOON: Final = Header(
    "Retry-After",
    "Seconds after which to try again.",
    {"type": "integer", "minimum": 0},
    always=True,
)
_OF_STATUS: Final = {
    401: Header("WWW-Authenticate", "`Bearer`.", _TEXT, always=True),
    405: Header("Allow", "The methods that the path takes.", _TEXT, always=True),
    429: _SOON,
    503: _SOON,
}
_LINKS: Final = {
    operation: {
        "operationId": operation,
        "parameters": {"request_id": "$response.body#/request_id"},
    }
    for operation in ("get_result", "delete")
}
"""What can be done with a result that a reply names."""


def answer(told: Answer, schemas: Schemas) -> Json:
    """A reply that is no error."""
    response: Json = {"description": told.what, "headers": _headers((*told.headers, _ID))}
    if told.bodies:
        response["content"] = {
            kind: {"schema": schemas.of(body)} for kind, body in told.bodies.items()
        }
    if told.names_result:
        response["links"] = _LINKS
    return response


def failure(found: Sequence[type[ServerError]], schemas: Schemas) -> Json:
    """All the errors of one status, each by its code."""
    codes = [error.code for error in found]
    of_codes = {"properties": {"error": {"enum": codes}}}
    return {
        "description": "\n".join(f"- `{error.code}`: {_meaning(error)}" for error in found),
        "headers": _headers(_headers_of(found)),
        "content": {JSON: {"schema": {"allOf": [schemas.of(Failure), of_codes]}}},
    }


def _meaning(error: type[ServerError]) -> str:
    """The first line of its docstring; that of the base speaks of all."""
    if error is ServerError:
        return "The server failed."
    return (error.__doc__ or "").splitlines()[0]


def _headers_of(found: Sequence[type[ServerError]]) -> Iterator[Header]:
    """The headers of errors of one status; what answers no proper request tells no id."""
    yield _MAYBE_ID if set(found) & set(ANYWHERE) else _ID
    if header := _OF_STATUS.get(found[0].status):
        yield header


def _headers(headers: Iterable[Header]) -> Json:
    return {
        each.name: {"description": each.what, "schema": each.schema, "required": each.always}
        for each in headers
    }
