"""What schemathesis is told beside the contract: a schema can't say all."""

import io
import json
import uuid
from typing import Any

import schemathesis
from hypothesis import strategies as st
from PIL import Image

KEY = "Idempotency-Key"
READ = {"image", "save_locally"}


def encoded(form: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), (9, 9, 9)).save(buffer, form)
    return buffer.getvalue()


# Which bytes are an image.
IMAGES = {f"image/{form.lower()}": encoded(form) for form in ("JPEG", "PNG", "WEBP")}
for kind, image in IMAGES.items():
    schemathesis.openapi.media_type(kind, st.just(image))
schemathesis.openapi.media_type("application/octet-stream", st.sampled_from([*IMAGES.values()]))


@schemathesis.hook
def before_call(_: Any, case: schemathesis.Case[Any], __: Any) -> None:
    """A sound key is a new one: under one that was used, another image is refused."""
    sound = case.meta is None or case.meta.generation.mode.is_positive
    if sound and case.headers and KEY in case.headers:
        case.headers[KEY] = f"{case.headers[KEY][:200]}{uuid.uuid4()}"


@schemathesis.deserializer("application/x-ndjson")
def lines(_: Any, response: schemathesis.Response) -> list[Any]:
    return [json.loads(line) for line in response.content.splitlines()]


@schemathesis.hook
def filter_body(_: Any, body: Any) -> bool:
    """In a form, all is text: a number in a field that the server does not read is not wrong."""
    fields = getattr(body, "body", body)
    if not isinstance(fields, dict):
        return True
    return all(isinstance(value, str) for name, value in fields.items() if name not in READ)
