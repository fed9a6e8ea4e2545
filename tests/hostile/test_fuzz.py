"""A little of `make fuzz`, without its engine: the same properties, of inputs mutated at random."""

import random
import time
import warnings
from collections.abc import Iterator
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.web import form
from tests.hostile.fuzz import images, uploads
from tests.hostile.fuzz.mutations import mutations
from tests.hostile.wire import FORM

SECONDS = 5.0
"""In which one input must be done, on a machine that does other things, too."""

NAMES = st.text(
    st.characters(exclude_characters='"\\%', min_codepoint=32, exclude_categories=["C"])
)
DATA = st.one_of(st.binary(), st.sampled_from([b"\r\n--X", b"--X", b"\r\n", b"XX--\r\n"]))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of broken images
        yield


@pytest.mark.parametrize(("target", "number"), [(uploads, 1_500), (images, 2_000)])
def test_nothing_fails_hangs_or_is_read_in_two_ways(target: ModuleType, number: int) -> None:
    seeds = list(target.seeds())
    accepted = 0
    for data in (*seeds, *mutations(seeds, target.TOKENS, number, random.Random(7))):
        began = time.monotonic()
        accepted += target.check(data)
        assert time.monotonic() - began < SECONDS, data
    assert accepted > number // 20


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(NAMES, st.one_of(st.none(), NAMES), DATA), max_size=4))
def test_a_form_comes_out_as_it_went_in(parts: list[tuple[str, str | None, bytes]]) -> None:
    body = b"".join(written(*each) for each in parts) + b"--XX--\r\n"
    assert form.parse(body, FORM) == [form.Part(*each) for each in parts]
    uploads.check(FORM.encode() + b"\n" + body)


def written(name: str, file_name: str | None, data: bytes) -> bytes:
    """A part as browsers write it."""
    file = "" if file_name is None else f'; filename="{file_name}"'
    head = f'--XX\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode() + data + b"\r\n"
