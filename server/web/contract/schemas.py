"""The schemas: the types of all bodies, as JSON schemas."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from server.web.contract.operation import Schema

PLACE: Final = "#/components/schemas/"
"""Where the document has those with a name."""


class _Untitled(GenerateJsonSchema):
    """Makes no titles out of the names of fields: they say nothing more."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 - not of any
        return False


class Schemas:
    """The schemas of these types, and of what they are made of.

    Attributes:
        named: Those that stand under `PLACE`.
    """

    def __init__(self, bodies: Iterable[Any]) -> None:  # Any: types, and unions of them
        found, definitions = TypeAdapter.json_schemas(
            [(body, "serialization", TypeAdapter(body)) for body in dict.fromkeys(bodies)],
            ref_template=f"{PLACE}{{model}}",
            schema_generator=_Untitled,
        )
        self.named: Final[Mapping[str, Schema]] = definitions["$defs"]
        self._by_body: Final = {body: schema for (body, _), schema in found.items()}

    def of(self, body: Any) -> Schema:  # Any: one of those types
        """The schema of one of the types."""
        return self._by_body[body]
