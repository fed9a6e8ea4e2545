"""The document: OpenAPI 3.1, built once of the routes and their operations."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson
from aiohttp.web import RouteDef

from server import __version__, errors
from server.errors import ServerError
from server.web.api_keys import Scope
from server.web.contract import answers, image
from server.web.contract.answers import Json
from server.web.contract.bodies import Failure
from server.web.contract.operation import Operation, Parameter
from server.web.contract.operations import OPERATIONS, REQUEST_ID
from server.web.contract.schemas import Schemas

_ABOUT: Final = """\
A server for one image model: photos in, the model's answers out, every result kept.

An error's `response` says what is wrong and what to do, its `error` is a stable code. A path that
does not exist is answered with 404 `not_found`, a method that a path does not take with 405
`method_not_allowed` and the header `Allow`. `HEAD` does for `GET`."""

_SECURITY: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same."},
}
_OF_KEYS: Final = (errors.UnauthorizedError, errors.ForbiddenError)


def build(
    routes: Iterable[tuple[RouteDef, Scope | None]], *, guarded: bool, formats: Sequence[str]
) -> bytes:
    """The document as JSON.

    Args:
        routes: Every route, with the scope of API keys that it needs.
        guarded: The server has API keys; without, it needs none, though one may be sent.
        formats: Those of images that are taken, such as "jpeg".
    """
    schemas = Schemas([*_bodies(), Failure])
    paths: dict[str, Json] = defaultdict(dict)
    by_handler = {route.handler: (route, scope) for route, scope in routes}
    for handler, operation in OPERATIONS.items():
        route, scope = by_handler[handler]
        told = _named(handler) | _operation(operation, scope, schemas)
        if operation.takes_image:
            told["requestBody"] = image.body(formats)
        if scope:
            keyless: list[Json] = [] if guarded else [{}]
            told["security"] = keyless + [{scheme: [scope]} for scheme in _SECURITY]
        paths[route.path][route.method.lower()] = told
    return orjson.dumps(
        {"openapi": "3.1.0", "info": _info(), "paths": paths, "components": _components(schemas)}
    )


def _bodies() -> Iterable[Any]:  # Any: types, and unions of them
    for operation in OPERATIONS.values():
        for answer in operation.answers.values():
            yield from answer.bodies.values()


def _info() -> Json:
    return {
        "title": "Dockerized Server",
        "version": __version__,
        "description": _ABOUT,
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    }


def _components(schemas: Schemas) -> Json:
    """What all calls share; two of the errors are those of what is no call."""
    return {
        "schemas": schemas.named,
        "responses": {
            "MethodNotAllowed": answers.failure([errors.MethodNotAllowedError], schemas),
            "NotFound": answers.failure([errors.NotFoundError], schemas),
        },
        "securitySchemes": _SECURITY,
    }


def _named(handler: Any) -> Json:  # Any: of aiohttp's kinds of handlers, a function
    """Its name, and what the first line of its docstring says after the path."""
    first, *_ = handler.__doc__.splitlines()
    sentence = first.partition(": ")[2].rstrip(".")
    return {"operationId": handler.__name__, "summary": sentence[0].upper() + sentence[1:]}


def _operation(operation: Operation, scope: Scope | None, schemas: Schemas) -> Json:
    told: Json = {
        "tags": [operation.topic],
        "parameters": [_parameter(each) for each in (*operation.parameters, REQUEST_ID)],
        "responses": {
            f"{status}": answers.answer(each, schemas) for status, each in operation.answers.items()
        },
    }
    if operation.more:
        told["description"] = operation.more
    by_status: dict[int, list[type[ServerError]]] = defaultdict(list)
    for error in (*operation.errors, *(_OF_KEYS if scope else ()), *answers.ANYWHERE):
        by_status[error.status].append(error)
    for status, found in sorted(by_status.items()):
        told["responses"][f"{status}"] = answers.failure(found, schemas)
    return told


def _parameter(parameter: Parameter) -> Json:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.what,
        "required": parameter.place == "path",
        "schema": parameter.schema,
    }
