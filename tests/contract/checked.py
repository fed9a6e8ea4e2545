"""The contract as a judge of live answers: what it does not tell of must not come."""

import copy
import re
from collections.abc import Mapping
from functools import cache, partialmethod
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
import orjson
import pytest
from aiohttp import hdrs
from jsonschema_rs import Draft202012Validator

from server.web.contract import document
from server.web.protocol import SERVER
from server.web.routes import PUBLIC

CONTRACT: Final[dict[str, Any]] = orjson.loads(
    document.build(PUBLIC, guarded=True, formats=("jpeg", "png", "webp"))
)
OPEN: Final = {"Answer"}
"""The one body that may hold keys of which the contract knows nothing: the model's author's."""

SHARED: Final = {
    404: CONTRACT["components"]["responses"]["NotFound"],
    405: CONTRACT["components"]["responses"]["MethodNotAllowed"],
}
"""What is answered where there is no such call."""


@cache
def schemas() -> dict[str, Any]:
    """The named schemas, closed: a key that they don't name is an error."""
    found: dict[str, Any] = copy.deepcopy(CONTRACT["components"]["schemas"])
    for name in found.keys() - OPEN:
        found[name]["additionalProperties"] = False
    return found


def complaints(value: object, schema: Mapping[str, Any]) -> list[str]:
    """What of a value is not as a schema of the contract says."""
    whole = {**schema, "components": {"schemas": schemas()}}
    validator = Draft202012Validator(whole, validate_formats=True)
    return [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(value)]


def responses(method: str, path: str) -> dict[str, Any]:
    """What a call may answer, by status; empty if there is no such call."""
    found = [
        each for each in CONTRACT["paths"] if re.fullmatch(re.sub("{.*}", "[^/]*", each), path)
    ]
    operations: dict[str, Any] = CONTRACT["paths"][min(found)] if found else {}
    told: dict[str, Any] = operations.get(method.lower(), {"responses": {}})["responses"]
    return told


def check(method: str, path: str, reply: aiohttp.ClientResponse, body: bytes | None) -> None:
    """See that an answer is one that the contract tells of; its body, where it is known."""
    called = responses("get" if method == hdrs.METH_HEAD else method, path)
    told = called.get(f"{reply.status}") or SHARED.get(reply.status)
    if told is None and not called and reply.status in {401, 403}:  # keys come before paths
        told = responses("get", "/status")[f"{reply.status}"]
    assert told is not None, f"{method} {path} must not answer {reply.status}"
    for name, header in told["headers"].items():
        assert name in reply.headers or not header["required"], f"{path}: no header {name}"
        if name in reply.headers and header["schema"]["type"] == "string":
            assert complaints(reply.headers[name], header["schema"]) == [], name
    kinds = told.get("content", {})
    assert (reply.content_type in kinds) if kinds else not body, f"{path}: {reply.content_type}"
    if body and reply.content_type == "application/json":
        assert complaints(orjson.loads(body), kinds["application/json"]["schema"]) == [], body


async def _judge(
    _: aiohttp.ClientSession, __: SimpleNamespace, ended: aiohttp.TraceRequestEndParams
) -> None:
    reply = ended.response
    preflight = ended.method == hdrs.METH_OPTIONS and reply.status == 204
    if reply.headers.get(hdrs.SERVER) != SERVER or preflight:  # another server, or a browser's
        return
    whole = hdrs.CONTENT_LENGTH in reply.headers and ended.method != hdrs.METH_HEAD
    body = await reply.read() if whole else None  # what comes as a stream is left to the test
    check(ended.method, ended.url.raw_path, reply, body)


@pytest.fixture(autouse=True)
def contract(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer that aiohttp's client gets from a server must be as the contract says."""
    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(_judge)
    begin = partialmethod(aiohttp.ClientSession.__init__, trace_configs=[trace])
    monkeypatch.setattr(aiohttp.ClientSession, "__init__", begin)
