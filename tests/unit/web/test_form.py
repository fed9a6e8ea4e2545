from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import MalformedRequestError
from server.web import form
from server.web.form import MAX_PARTS, Part

TYPE = "multipart/form-data; boundary=frontier"
PHOTO = (
    b"--frontier\r\n"
    b'Content-Disposition: form-data; name="image"; filename="cat.jpg"\r\n'
    b"Content-Type: image/jpeg\r\n"
    b"\r\n"
    b"pixels\r\n"
)
FLAG = b'--frontier\r\nContent-Disposition: form-data; name="save_locally"\r\n\r\ntrue\r\n'
END = b"--frontier--\r\n"


def refusal(body: bytes, content_type: str = TYPE) -> str:
    with pytest.raises(MalformedRequestError) as refused:
        form.parse(body, content_type)
    return refused.value.sentence


def test_a_form_gives_its_parts_in_their_order() -> None:
    assert form.parse(FLAG + PHOTO + END, TYPE) == [
        Part("save_locally", None, b"true"),
        Part("image", "cat.jpg", b"pixels"),
    ]


@pytest.mark.parametrize("end", [b"--frontier--\r\n", b"--frontier--", b"--frontier--\r\nepilogue"])
def test_a_form_may_end_as_clients_end_it(end: bytes) -> None:
    assert form.parse(PHOTO + end, TYPE) == [Part("image", "cat.jpg", b"pixels")]


def test_a_form_without_parts_is_empty() -> None:
    assert form.parse(END, TYPE) == []


def test_a_part_without_bytes_is_kept() -> None:
    assert form.parse(PHOTO.replace(b"pixels", b"") + END, TYPE) == [Part("image", "cat.jpg", b"")]


@given(st.lists(st.one_of(st.binary(), st.just(b"\r\n--frontie"), st.just(b"\r\n--")), max_size=3))
def test_bytes_come_out_as_they_went_in(datas: list[bytes]) -> None:
    body = b"".join(PHOTO.replace(b"pixels", data) for data in datas) + END
    assert [part.data for part in form.parse(body, TYPE)] == datas


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("photo of a cat.jpg", "photo of a cat.jpg"),
        ("фото.jpg", "фото.jpg"),
        ("a%22b.jpg", 'a"b.jpg'),
        ("C:\\photos\\cat.jpg", "cat.jpg"),
        ("../../etc/passwd", "../../etc/passwd"),  # shown as it was sent; never used as a path
        ("", ""),
    ],
)
def test_a_file_name_is_read_as_its_client_meant_it(sent: str, read: str) -> None:
    body = PHOTO.replace(b"cat.jpg", sent.encode()) + END
    assert form.parse(body, TYPE)[0].file_name == read


def test_a_quoted_boundary_is_unquoted() -> None:
    quoted = 'multipart/form-data; charset=utf-8; boundary="fron tier"'
    body = (PHOTO + END).replace(b"frontier", b"fron tier")
    assert form.parse(body, quoted) == [Part("image", "cat.jpg", b"pixels")]


@pytest.mark.parametrize("cut", range(len(PHOTO + END) - len(b"\r\n")))
def test_a_form_cut_anywhere_is_refused(cut: int) -> None:
    assert "no proper multipart/form-data" in refusal((PHOTO + END)[:cut])


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        "multipart/form-data; boundary=another",
        f"multipart/form-data; boundary={'b' * 10_000}",
        'multipart/form-data; boundary="\udcff"',
        'multipart/form-data; boundary="a\nb"',
    ],
)
def test_a_boundary_that_is_not_the_bodys_is_refused(content_type: str) -> None:
    assert "curl -F image=@photo.jpg" in refusal(PHOTO + END, content_type)


@pytest.mark.parametrize(
    ("found", "instead"),
    [
        (b"\r\n", b"\n"),
        (b"Content-Disposition", b"Content-Position"),
        (b"form-data;", b"attachment;"),
        (b'name="image"; ', b""),
        (b"cat.jpg", b"\xff\xfe.jpg"),
        (b"Content-Type: image/jpeg", b"no colon"),
        (b"Content-Type: image/jpeg", b"Content-Length: 99"),
        (b"Content-Type: image/jpeg", b"Content-Length: six"),
        (b"image/jpeg", b"image/" + b"j" * 9000),
        (b"Content-Type: image/jpeg", b"\r\n".join(b"X-%d: x" % n for n in range(200))),
    ],
)
def test_a_part_with_broken_headers_is_refused(found: bytes, instead: bytes) -> None:
    broken = (PHOTO + END).replace(found, instead)
    assert broken != PHOTO + END
    assert "no proper multipart/form-data" in refusal(broken)


def test_a_form_may_have_so_many_parts_and_no_more() -> None:
    assert len(form.parse(FLAG * MAX_PARTS + END, TYPE)) == MAX_PARTS
    assert "segment count" in refusal(FLAG * (MAX_PARTS + 1) + END)


@given(st.binary(), st.text())
def test_any_body_is_parsed_or_refused(body: bytes, content_type: str) -> None:
    for each in (content_type, TYPE):
        with suppress(MalformedRequestError):
            form.parse(body, each)
