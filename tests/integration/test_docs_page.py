"""The API page and the contract that it shows."""

import re

import aiohttp
import pytest
from yarl import URL

from server import __version__
from tests.server_process import ServerProcess

PAGE = ("/docs", "/docs/docs.css", "/docs/docs.js")


async def test_the_contract_is_told(http: aiohttp.ClientSession) -> None:
    async with http.get("/openapi.json") as reply:
        contract = await reply.json()
    assert contract["openapi"] == "3.1.0"
    assert contract["info"]["version"] == __version__
    assert {"/predict", "/predictResults/{request_id}", "/openapi.json"} <= {*contract["paths"]}


@pytest.mark.parametrize("path", ["/openapi.json", *PAGE])
async def test_what_a_client_has_is_not_sent_again(http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(path) as reply:
        assert reply.status == 200
        assert reply.headers["Cache-Control"] == "no-cache"
        known = reply.headers["ETag"]
    for sent, status in ((known, 304), (f'"other", {known}', 304), ("*", 304), ('"other"', 200)):
        async with http.get(path, headers={"If-None-Match": sent}) as reply:
            assert reply.status == status
            assert reply.headers["ETag"] == known
            assert bool(await reply.read()) == (status == 200)


async def test_the_page_asks_nothing_of_any_other_server(http: aiohttp.ClientSession) -> None:
    named: set[str] = set()
    for path in PAGE:
        async with http.get(path) as reply:
            text = await reply.text()
            allowed = reply.headers["Content-Security-Policy"]
        assert "http://" not in text
        assert "https://" not in text
        named |= {f"/{each}" for each in re.findall(r'(?:src|href)="([a-z][^":]*)"', text)}
    assert named == {"/docs/docs.css", "/docs/docs.js", "/openapi.json"}
    assert allowed.startswith("default-src 'none';")
    assert "unsafe" not in allowed


async def test_the_page_has_no_other_parts(
    http: aiohttp.ClientSession, server: ServerProcess
) -> None:
    for path in ("/docs/docs.html", "/docs/%2e%2e%2fkeys.py", "/docs/", "/docs/x/docs.js"):
        async with http.get(URL(f"{server.url}{path}", encoded=True)) as reply:
            assert reply.status == 404
