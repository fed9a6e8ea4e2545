"""Bad input: the right 4xx in the one envelope, nothing stored, nothing left on disk."""

import io
from collections.abc import AsyncIterator
from typing import NamedTuple

import aiohttp
import pytest
from PIL import Image

from tests.photos import photo
from tests.server_process import ServerProcess

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
