"""The image: the body of what takes one, in the document's terms."""

from collections.abc import Sequence
from typing import Any, Final

from server.web import form, parameters

FLAG: Final = {
    "anyOf": [{"type": "boolean"}, {"type": "string", "enum": [*parameters.FLAGS]}],
    "default": False,
}
"""A yes or no, as it is written in a query or a form."""

_BYTES: Final = {"type": "string", "format": "binary"}


def body(formats: Sequence[str]) -> dict[str, Any]:  # Any: what JSON can say
    """The body: a form with an image, or the image itself.

    Args:
        formats: Those of images that are taken, such as "jpeg".
    """
    kinds = [f"image/{name}" for name in formats]
    form_schema = {
        "type": "object",
        "required": ["image"],
        "properties": {"image": _BYTES, "save_locally": FLAG},
        "propertyNames": {"pattern": form.NAME_PATTERN},
        "maxProperties": form.MAX_PARTS,
        "additionalProperties": {"type": "string", "description": "Not read."},
    }
    return {
        "description": "The image: a part of a form, or the whole body. What counts is the bytes,"
        " not the name or the declared type.",
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": form_schema,
                "encoding": {"image": {"contentType": ", ".join(kinds)}},
            },
            **{kind: {"schema": _BYTES} for kind in (*kinds, "application/octet-stream")},
        },
    }
