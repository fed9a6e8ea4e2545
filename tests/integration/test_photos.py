"""Photos in all formats and modes: each is answered, upright."""

from collections.abc import Iterable
from typing import Any

import aiohttp

from tests.integration.conftest import Start
from tests.integration.requests import form
from tests.photos import variants

QUARTERS = ("top left", "top right", "bottom left", "bottom right")


async def test_each_variant_of_a_photo_reaches_the_model_upright(start: Start) -> None:
    server = start("--model", "tests/models.py:Colours").ready()
    answers = await _answers(server.url)
    expected = answers.pop("orientation-1.jpg")

    assert len(answers) >= 20
    for name, answer in answers.items():
        assert answer["size"] == expected["size"], name
        assert _difference(answer, expected, grey="grey" in name) < 12, name
    turned = {"colours": dict(zip(QUARTERS, reversed(expected["colours"].values()), strict=True))}
    assert _difference(turned, expected, grey=True) > 24  # what is not upright differs by more


async def test_each_variant_of_a_photo_is_answered_by_the_default_model(start: Start) -> None:
    answers = await _answers(start().ready().url)
    labels = [answer["label"] for answer in answers.values()]
    assert len(labels) > 20
    assert all(answer["annotations"] for answer in answers.values())


async def _answers(url: str) -> dict[str, dict[str, Any]]:
    answers = {}
    async with aiohttp.ClientSession(url) as http:
        for name, data in variants().items():
            async with http.post("/predict", data=form(data, name)) as reply:
                result = await reply.json()
            assert reply.status == 200, (name, result)
            answers[name] = result["response"]
    return answers


def _difference(answer: dict[str, Any], expected: dict[str, Any], *, grey: bool) -> float:
    """The largest difference between the colours of the same quarter."""
    pairs: Iterable[tuple[list[float], list[float]]] = zip(
        answer["colours"].values(), expected["colours"].values(), strict=True
    )
    if grey:
        pairs = (([_luminance(one)], [_luminance(other)]) for one, other in pairs)
    return float(max(abs(a - b) for one, two in pairs for a, b in zip(one, two, strict=True)))


def _luminance(colour: list[float]) -> float:
    red, green, blue = colour
    return 0.299 * red + 0.587 * green + 0.114 * blue
