"""An operation: what one call takes and answers, in the terms of OpenAPI."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from server.errors import ServerError

Schema = Mapping[str, object]
"""A JSON schema."""

JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A part of the path, of the query or of the head."""

    name: str
    place: Literal["path", "query", "header"]
    what: str
    schema: Schema


@dataclass(frozen=True, slots=True)
class Header:
    """A header of replies. One that is not `always` there need not be."""

    name: str
    what: str
    schema: Schema
    always: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply that is no error.

    Attributes:
        what: What it tells.
        bodies: Its type by its content type: one of `bodies.BODIES` or a list of one, or a schema.
        headers: Those that only this reply has.
        names_result: Its `request_id` is that of a result, which other calls take.
    """

    what: str
    bodies: Mapping[str, Any]  # Any: types, and unions of them
    headers: Sequence[Header] = ()
    names_result: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One call.

    Attributes:
        topic: The heading under which people find it.
        answers: The replies that are no errors, by status.
        errors: Those of its own, beside the ones that every call may meet.
        parameters: What it takes beside its body.
        takes_image: Its body is an image, or a form with one.
        more: What its handler's first line does not say.
    """

    topic: str
    answers: Mapping[int, Answer]
    errors: Sequence[type[ServerError]] = ()
    parameters: Sequence[Parameter] = ()
    takes_image: bool = False
    more: str = ""
