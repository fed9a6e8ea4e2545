"""Who may call: API keys and their scopes, and pages of other sites."""

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import aiohttp
import pytest
from aiohttp import hdrs
from yarl import URL

from server.web.routes import ROUTES
from tests.integration.conftest import Start
from tests.integration.requests import form, picture
from tests.integration.test_deadlines import Connect, connect
from tests.models import FINE
from tests.server_process import ServerProcess, ready_server

__all__ = ["connect"]  # a fixture

KEYS: Final = {name: f"{name}-0123456789abcdef" for name in ("read", "predict", "both", "admin")}
HASHED: Final = hashlib.sha256(KEYS["admin"].encode()).hexdigest()
FILE: Final = f"""# name scopes key
read read {KEYS["read"]}
predict predict {KEYS["predict"]}
both predict,read {KEYS["both"]}
admin admin sha256:{HASHED}
"""
WRONG: Final = "wrong-0123456789abcdef"
MODEL: Final = ("--model", "tests/models.py:Obedient", "--workers", "1")
EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - what the test is about
SITE: Final = "https://app.example"
NOBODY: Final = "01900000-0000-7000-8000-000000000000"

OPEN: Final = {"nobody", *KEYS}
READ: Final = {"read", "both", "admin"}
PREDICT: Final = {"predict", "both", "admin"}
ALL: Final = {*KEYS}
WHO_MAY: Final = {
    ("GET", "/livez"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/docs"): OPEN,
    ("GET", "/docs/{file}"): OPEN,
    ("GET", "/status"): READ,
    ("GET", "/openapi.json"): READ,
    ("GET", "/predictResults"): READ,
    ("GET", "/predictResults/{request_id}"): READ,
    ("POST", "/predict"): PREDICT,
    ("POST", "/asyncPredict"): PREDICT,
    ("DELETE", "/delete/{request_id}"): PREDICT,
    ("DELETE", "/deleteAll"): {"admin"},
    ("POST", "/import"): {"admin"},
    ("POST", "/export"): {"admin"},
    ("GET", "/nowhere"): ALL,
    ("PUT", "/predict"): ALL,
    ("OPTIONS", "/predict"): ALL,
}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with keys, whose log must never hold one, be it right or wrong."""
    folder = tmp_path_factory.mktemp("guarded")
    file = folder / "keys"
    file.write_text(FILE)
    file.chmod(0o600)
    arguments = (*MODEL, "--api-key-file", str(file), "--cors-origin", f"{SITE},http://localhost:1")
    with ready_server(folder / "data", *arguments) as server:
        yield server
    for secret in (*KEYS.values(), WRONG, HASHED):
        assert secret not in server.log
    assert "WARNING" not in server.log


@pytest.fixture
async def http(guarded: ServerProcess) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(guarded.url) as session:
        yield session


def headers(who: str) -> dict[str, str]:
    return {"X-API-Key": KEYS[who]} if who in KEYS else {}


def test_each_route_is_in_the_table() -> None:
    assert {(each.method, each.path) for each in ROUTES[:-1]} <= set(WHO_MAY)


@pytest.mark.parametrize("who", ["nobody", *KEYS])
@pytest.mark.parametrize(("method", "path"), WHO_MAY)
async def test_a_call_takes_the_scope_of_its_route(
    http: aiohttp.ClientSession, method: str, path: str, who: str
) -> None:
    url = path.format(request_id=NOBODY, file="docs.js")
    async with http.request(method, url, headers=headers(who)) as reply:
        text = await reply.text()
    if who in WHO_MAY[method, path]:
        assert reply.status not in {401, 403}
        return
    error = "unauthorized" if who == "nobody" else "forbidden"
    assert json.loads(text)["error"] == error
    assert reply.status == {"unauthorized": 401, "forbidden": 403}[error]
    assert ("WWW-Authenticate" in reply.headers) == (who == "nobody")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"Authorization": f"Bearer {KEYS['read']}"}, 200),
        ({"Authorization": f"bearer  {KEYS['read']} "}, 200),
        ({"X-API-Key": KEYS["read"]}, 200),
        ({"X-API-Key": KEYS["admin"]}, 200),
        ({"Authorization": "Basic eDp5", "X-API-Key": KEYS["read"]}, 200),
        ({"Authorization": f"Bearer {WRONG}", "X-API-Key": KEYS["read"]}, 401),
        ({"Authorization": f"Basic {KEYS['read']}"}, 401),
        ({"Authorization": KEYS["read"]}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"X-API-Key": f"Bearer {KEYS['read']}"}, 401),
        ({"X-API-Key": WRONG}, 401),
        ({"X-API-Key": f"sha256:{HASHED}"}, 401),
        ({"X-API-Key": "\udcff" * 20}, 401),
        ({"Cookie": f"X-API-Key={KEYS['read']}"}, 401),
    ],
)
async def test_a_key_comes_as_bearer_or_as_x_api_key(
    http: aiohttp.ClientSession, sent: dict[str, str], status: int
) -> None:
    async with http.get("/predictResults", headers=sent) as reply:
        assert reply.status == status
        assert WRONG not in await reply.text()


async def test_a_key_in_the_query_is_none_and_is_not_logged(
    guarded: ServerProcess, http: aiohttp.ClientSession
) -> None:
    for query in (f"?X-API-Key={KEYS['read']}", f"?{WRONG}", f"?limit=7&key={WRONG}"):
        async with http.get(f"/predictResults{query}") as reply:
            assert reply.status == 401
    guarded.wait_for_line(r"GET /predictResults\?\.\.\. 401")
    guarded.wait_for_line(r"GET /predictResults\?limit=7&\.\.\. 401")


async def test_a_key_in_a_malformed_request_is_not_logged(
    guarded: ServerProcess, connect: Connect
) -> None:
    for head in (f"Authorization: Bearer {WRONG}\x01", f"X-API-Key: {WRONG}\r\nno header"):
        client = await connect(guarded)
        client.send(f"GET /status HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode())
        assert b" 400 " in await client.until_closed()
    guarded.wait_for_line(r" 400 \d+ ms")


async def test_the_log_names_the_key_that_a_request_was_made_with(
    guarded: ServerProcess, http: aiohttp.ClientSession
) -> None:
    for who, status in (("both", 200), ("predict", 403)):
        sent = headers(who) | {"X-Request-ID": f"of-{who}"}
        async with http.get("/status", headers=sent) as reply:
            assert reply.status == status
        guarded.wait_for_line(rf"GET /status {status} \d+ ms of-{who} by {who}$")


@pytest.mark.parametrize("path", ["/predict", "/asyncPredict", "/import", "/nowhere", "/a%0Ab"])
async def test_who_has_no_key_is_refused_before_the_body_is_asked_for(
    guarded: ServerProcess, connect: Connect, path: str
) -> None:
    client = await connect(guarded)
    client.post("Content-Length: 1000", "Expect: 100-continue", path=path)
    reply = await client.reply()

    assert (reply.status, reply.body["error"]) == (401, "unauthorized")
    assert reply.headers["Connection"] == "close"


async def test_who_has_a_key_is_asked_for_the_body(
    guarded: ServerProcess, connect: Connect
) -> None:
    image = picture(FINE)
    client = await connect(guarded)
    key = f"Authorization: Bearer {KEYS['predict']}"
    client.post(f"Content-Length: {len(image)}", "Expect: 100-continue", key)
    assert (await client.reply()).status == 100
    client.send(image)
    assert (await client.reply()).status == 200


# The file of keys


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"ci read {WRONG}\nops all {WRONG}2", "line 2: the scopes must be of"),
        ("ci read short", "line 1: the key is shorter than 16"),
        ("", "it has no key"),
    ],
)
def test_a_bad_key_file_stops_the_start_with_one_line(
    start: Start, tmp_path: Path, text: str, told: str
) -> None:
    file = tmp_path / "keys"
    file.write_text(text)
    server = start("--api-key-file", str(file))
    assert server.wait() == 1
    (line,) = server.lines
    assert f"--api-key-file {file}: {told}" in line
    assert WRONG not in line


@pytest.mark.parametrize(
    ("host", "keys", "warned"),
    [("127.0.0.1", False, False), (EVERYWHERE, False, True), (EVERYWHERE, True, False)],
)
def test_the_banner_warns_where_whoever_comes_may_call(
    start: Start, tmp_path: Path, host: str, keys: bool, warned: bool
) -> None:
    file = tmp_path / "keys"
    file.write_text(FILE)
    file.chmod(0o600)
    server = start(*MODEL, "--host", host, *(["--api-key-file", str(file)] if keys else []))
    server.wait_for_line("try ")
    assert ("WARNING access" in server.log) == warned


def test_keys_that_everybody_can_read_are_told(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(FILE)
    file.chmod(0o644)
    start(*MODEL, "--api-key-file", str(file)).wait_for_line("WARNING .* everybody .* chmod 600")


# Pages of other sites


def preflight(origin: str) -> dict[str, str]:
    return {
        hdrs.ORIGIN: origin,
        hdrs.ACCESS_CONTROL_REQUEST_METHOD: "POST",
        hdrs.ACCESS_CONTROL_REQUEST_HEADERS: "authorization",
    }


async def test_a_preflight_of_an_allowed_page_is_answered_without_a_key(
    http: aiohttp.ClientSession,
) -> None:
    async with http.options("/predict", headers=preflight(SITE)) as reply:
        assert (reply.status, await reply.read()) == (204, b"")
    told = {name.lower() for name in reply.headers["Access-Control-Allow-Headers"].split(", ")}
    assert told >= {"authorization", "x-api-key", "idempotency-key", "prefer", "content-type"}
    assert {"POST", "DELETE"} <= {*reply.headers["Access-Control-Allow-Methods"].split(", ")}
    assert reply.headers["Access-Control-Allow-Origin"] == SITE


@pytest.mark.parametrize("path", ["/predict", "/nowhere"])
@pytest.mark.parametrize("who", ["nobody", "both"])
async def test_an_allowed_page_may_read_every_reply(
    http: aiohttp.ClientSession, who: str, path: str
) -> None:
    sent = headers(who) | {hdrs.ORIGIN: SITE}
    async with http.post(path, headers=sent, data=form(picture(FINE))) as reply:
        assert reply.headers["Access-Control-Allow-Origin"] == SITE
    exposed = {*reply.headers["Access-Control-Expose-Headers"].split(", ")}
    assert exposed >= {"Location", "Link", "Retry-After", "X-Request-ID", "Preference-Applied"}
    assert "Origin" in reply.headers["Vary"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", f"{SITE}.evil.example"])
async def test_another_page_is_told_nothing(http: aiohttp.ClientSession, origin: str) -> None:
    async with http.options("/predict", headers=preflight(origin)) as reply:
        assert reply.status == 401
        assert "Access-Control-Allow-Origin" not in reply.headers
        assert reply.headers["Vary"] == "Origin"  # caches must not give it to the allowed ones


async def test_with_a_star_every_page_may_call_without_it_none(
    start: Start, server: ServerProcess
) -> None:
    starred = start(*MODEL, "--cors-origin", "*").ready()
    for url, status, allowed in ((starred.url, 204, "*"), (server.url, 405, None)):
        async with aiohttp.request(
            "OPTIONS", URL(url) / "predict", headers=preflight(SITE)
        ) as reply:
            assert reply.status == status
            assert reply.headers.get("Access-Control-Allow-Origin") == allowed


@pytest.mark.parametrize(
    ("told", "passes"),
    [
        ({}, True),  # curl and SDKs
        ({"Sec-Fetch-Site": "same-origin", "Origin": SITE}, True),  # through a proxy
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": SITE}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),  # another port of this machine, say
        ({"Sec-Fetch-Site": "?"}, False),
        ({"Origin": "http://{host}"}, True),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "http://{host}.evil.example"}, False),
        ({"Origin": "null"}, False),
    ],
)
async def test_a_page_of_another_site_changes_nothing(
    server: ServerProcess, told: dict[str, str], *, passes: bool
) -> None:
    host = URL(server.url).authority
    sent = {name: value.replace("{host}", host) for name, value in told.items()}
    async with aiohttp.ClientSession(server.url, headers=sent) as page:
        async with page.post("/predict", data=form(picture(FINE))) as reply:
            assert reply.status == (200 if passes else 403)
            assert passes or (await reply.json())["error"] == "forbidden"
        async with page.delete("/deleteAll") as reply:
            assert reply.status == (200 if passes else 403)
        async with page.get("/predictResults") as reply:
            assert reply.status == 200


async def test_an_allowed_page_may_send_a_form(http: aiohttp.ClientSession) -> None:
    sent = headers("both") | {hdrs.ORIGIN: SITE, "Sec-Fetch-Site": "cross-site"}
    async with http.post("/predict", headers=sent, data=form(picture(FINE))) as reply:
        assert reply.status == 200
    for foreign in ({hdrs.ORIGIN: "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        async with http.post("/predict", headers=headers("both") | foreign) as reply:
            assert reply.status == 403
