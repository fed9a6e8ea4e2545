"""Bad input: the right 4xx in the one envelope, nothing stored, nothing left on disk."""

import io
import json
import re
import socket
from collections.abc import AsyncIterator
from typing import NamedTuple

import aiohttp
import pytest
from PIL import Image
from yarl import URL

from tests.photos import photo
from tests.server_process import ServerProcess
from tests.unit.web.test_upload import IN_TIME

JPEG = photo("rocket.jpg").read_bytes()
UNKNOWN = "123e4567-e89b-42d3-a456-426614174000"
FORM = "multipart/form-data; boundary=XX"


def part(data: bytes, disposition: str = 'form-data; name="image"; filename="a.jpg"') -> bytes:
    return b"--XX\r\nContent-Disposition: %b\r\n\r\n%b\r\n" % (disposition.encode(), data)


def whole(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--XX--\r\n"


def field(name: str, value: str) -> bytes:
    return part(value.encode(), f'form-data; name="{name}"')


def bomb() -> bytes:
    """A small PNG that says it has 400 megapixels."""
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    return buffer.getvalue()


class Post(NamedTuple):
    body: bytes
    status: int
    error: str
    content_type: str = FORM


POSTS = {
    "no parts": Post(whole(), 400, "no_image"),
    "no image part": Post(whole(field("file", "x")), 400, "no_image"),
    "an empty image": Post(whole(part(b"")), 400, "empty_image"),
    "an empty body": Post(b"", 400, "malformed_request"),
    "an empty bare image": Post(b"", 400, "empty_image", "image/jpeg"),
    "two images": Post(whole(part(JPEG), part(JPEG)), 400, "malformed_request"),
    "a form that ends early": Post(part(JPEG), 400, "malformed_request"),
    "another boundary": Post(whole(part(JPEG)), 400, "malformed_request", FORM + "Y"),
    "no boundary": Post(whole(part(JPEG)), 400, "malformed_request", "multipart/form-data"),
    "JSON": Post(b"{}", 415, "unsupported_media_type", "application/json"),
    "a text": Post(whole(part(b"hello, this is not an image")), 415, "unsupported_image"),
    "a GIF, not allowed": Post(whole(part(b"GIF89a" + bytes(30))), 415, "unsupported_image"),
    "a truncated JPEG": Post(whole(part(JPEG[:9000])), 422, "undecodable_image"),
    "the beginning of a JPEG": Post(whole(part(JPEG[:20])), 422, "undecodable_image"),
    "too many bytes": Post(whole(part(JPEG + bytes(34_000_000))), 413, "too_many_bytes"),
    "too many pixels": Post(whole(part(bomb())), 413, "too_many_pixels"),
    "a wrong save_locally": Post(
        whole(part(JPEG), field("save_locally", "perhaps")), 400, "invalid_parameter"
    ),
}


@pytest.fixture
async def clean(http: aiohttp.ClientSession, server: ServerProcess) -> AsyncIterator[None]:
    """Checks after the test that nothing was kept."""
    yield
    async with http.get("/predictResults") as reply:
        assert await reply.json() == []
    assert not (server.data_dir / "images").exists()


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("name", POSTS)
async def test_a_bad_post_is_refused_in_the_envelope(
    http: aiohttp.ClientSession, name: str
) -> None:
    post = POSTS[name]
    headers = {"Content-Type": post.content_type}
    url = "/predict?save_locally=true" if post.error != "invalid_parameter" else "/predict"
    async with http.post(url, data=io.BytesIO(post.body), headers=headers) as reply:
        answer = await reply.json()

    assert (reply.status, answer["error"]) == (post.status, post.error), answer
    assert answer["status"] == "Fail"
    assert " " in answer["response"]
    assert "Traceback" not in answer["response"]


@pytest.mark.usefixtures("clean")
async def test_an_async_predict_refuses_what_its_header_shows(http: aiohttp.ClientSession) -> None:
    for name in ("no image part", "a text", "too many pixels", "an empty image"):
        headers = {"Content-Type": POSTS[name].content_type}
        async with http.post("/asyncPredict", data=POSTS[name].body, headers=headers) as reply:
            assert reply.status == POSTS[name].status, name


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", f"/predictResults/{UNKNOWN}", 404, "not_found"),
        ("GET", "/predictResults/7", 400, "malformed_request_id"),
        ("DELETE", f"/delete/{UNKNOWN}", 404, "not_found"),
        ("DELETE", "/delete/..%2f..%2fetc", 400, "malformed_request_id"),
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/predict", 405, "method_not_allowed"),
        ("DELETE", "/predictResults", 405, "method_not_allowed"),
        ("GET", "/predictResults?limit=0", 400, "invalid_parameter"),
        ("GET", "/predictResults?limit=ten", 400, "invalid_parameter"),
        ("GET", "/predictResults?cursor=x", 400, "invalid_parameter"),
        ("GET", "/predictResults?status=done", 400, "invalid_parameter"),
        ("GET", "/predictResults?since=yesterday", 400, "invalid_parameter"),
    ],
)
async def test_a_bad_path_or_parameter_is_refused(
    http: aiohttp.ClientSession, method: str, path: str, status: int, error: str
) -> None:
    async with http.request(method, path) as reply:
        answer = await reply.json()
    assert (reply.status, answer["error"], answer["status"]) == (status, error, "Fail")
    if status == 405:
        assert reply.headers["Allow"]


def test_what_is_no_request_is_in_the_access_log_under_the_id_of_its_reply(
    server: ServerProcess,
) -> None:
    for sent, status in (
        (b"GARBAGE\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nExpect: rain\r\n\r\n", 400),
    ):
        with socket.create_connection(address(server), IN_TIME) as client:
            client.sendall(sent)
            head, _, body = client.makefile("rb").read().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        found = re.search(rb"X-Request-ID: (\w+)", head)
        assert found
        server.wait_for_line(rf"INFO .* {status} \d+ ms {found[1].decode()}$")
        assert json.loads(body)["status"] == "Fail"


def test_a_broken_chunk_is_told_to_a_client_that_goes_on_sending(
    server: ServerProcess,
) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
    with socket.create_connection(address(server), IN_TIME) as client:
        client.sendall(head + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
        assert (
            client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        )  # so it is the body that breaks
        client.sendall(b"5\r\nhello\r\nXX\r\n" + bytes(30_000_000))
        reply = client.makefile("rb").read()
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert json.loads(reply.partition(b"\r\n\r\n")[2])["error"] == "malformed_request"


def address(server: ServerProcess) -> tuple[str | None, int | None]:
    url = URL(server.url)
    return url.host, url.port
