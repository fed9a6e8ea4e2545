"""The document: it tells of every call and every error, and what models find is as it says."""

from typing import Any

import numpy as np
import orjson
import pytest

from server.errors import BY_CODE
from server.model.results import Box, Classification, Frame, Mask, Point, Polygon, encode
from server.web.contract import document
from server.web.contract.operations import OPERATIONS
from server.web.routes import PUBLIC, SCOPES
from tests.contract.checked import CONTRACT, complaints

FOUND = (
    Classification("cat", 0.9),
    Box("cat", 0.5, left=-1, top=2, right=30.5, bottom=20),
    Polygon("cat", points=[(0, 0), (9, 0.5), (9, 9)]),
    Mask("cat", mask=np.eye(4, 6)),
    Point("nose", x=3, y=4),
)


def replies(told: object) -> list[tuple[str, dict[str, Any]]]:
    """Every reply of the document, with its status."""
    found: list[tuple[str, dict[str, Any]]] = []
    if isinstance(told, dict):
        for name, value in told.items():
            found += [*value.items()] if name == "responses" else replies(value)
    return found


def codes(reply: dict[str, Any]) -> list[str]:
    schema = reply.get("content", {}).get("application/json", {}).get("schema", {})
    found: list[str] = (
        schema["allOf"][1]["properties"]["error"]["enum"] if "allOf" in schema else []
    )
    return found


def test_each_route_has_an_operation_and_each_operation_a_route() -> None:
    assert set(OPERATIONS) == set(SCOPES)
    told = {(path, method) for path, calls in CONTRACT["paths"].items() for method in calls}
    assert told == {(route.path, route.method.lower()) for route, _ in PUBLIC}


def test_each_error_is_told_and_under_its_own_status() -> None:
    told = [(status, code) for status, reply in replies(CONTRACT) for code in codes(reply)]
    assert {code for _, code in told} == {*BY_CODE}
    by_name = {"NotFound": "404", "MethodNotAllowed": "405"}
    assert {(by_name.get(status, status), code) for status, code in told} == {
        (f"{error.status}", code) for code, error in BY_CODE.items()
    }


@pytest.mark.parametrize("guarded", [True, False])
def test_a_call_needs_the_scope_of_its_route_where_there_are_keys(guarded: bool) -> None:
    contract = orjson.loads(document.build(PUBLIC, guarded=guarded, formats=["png"]))
    for route, scope in PUBLIC:
        call = contract["paths"][route.path][route.method.lower()]
        keyless: list[dict[str, Any]] = [] if guarded else [{}]
        needed = [*keyless, {"bearer": [scope]}, {"apiKey": [scope]}]
        assert call.get("security") == (needed if scope else None)
        assert ("401" in call["responses"]) == ("403" in call["responses"]) == (scope is not None)


def test_images_are_of_the_formats_that_the_server_takes() -> None:
    contract = orjson.loads(document.build(PUBLIC, guarded=False, formats=["png", "tiff"]))
    body = contract["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert {*body} == {
        *("multipart/form-data", "application/octet-stream", "image/png", "image/tiff")
    }
    assert (
        body["multipart/form-data"]["encoding"]["image"]["contentType"] == "image/png, image/tiff"
    )


@pytest.mark.parametrize("found", FOUND, ids=lambda each: str(each.type))
def test_an_annotation_is_told_as_it_is_sent(found: object) -> None:
    answer = orjson.loads(encode(found, Frame("cat.png", (6, 4), (12, 8))))
    (annotation,) = answer["annotations"]
    wrong = [annotation | {"unheard_of": 1}]
    wrong += [{key: annotation[key] for key in annotation.keys() - {name}} for name in annotation]
    told = {"$ref": "#/components/schemas/Answer"}
    assert complaints(answer, told) == []
    for each in wrong:
        assert complaints(answer | {"annotations": [each]}, told) != []
