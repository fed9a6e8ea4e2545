"""The wire: what clients of the original server, and new ones, send and read."""

import asyncio
import re
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from yarl import URL

from tests.integration.requests import finished, form, status, submit
from tests.photos import photo
from tests.server_process import ServerProcess

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
CAT = photo("chelsea.png").read_bytes()
CATS = {"Egyptian cat", "tabby", "tabby cat", "tiger cat", "lynx"}


async def test_a_photo_of_a_cat_is_answered_with_a_cat(http: aiohttp.ClientSession) -> None:
    async with http.post("/predict", data=form(CAT, "cat.png")) as reply:
        result = await reply.json()
        assert reply.status == 200
        assert reply.headers["Content-Type"] == "application/json; charset=utf-8"

    assert UUID.fullmatch(result["request_id"])
    assert result["status"] == "Success"
    response = result["response"]
    assert response["image"] == "cat.png"
    assert response["label"] in CATS
    assert 0 < response["confidence"] <= 1
    assert [annotation["type"] for annotation in response["annotations"]] == ["class"] * 5
    assert response["annotations"][0]["label"] == response["label"]
    created = datetime.strptime(result["createdAt"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - created) < timedelta(minutes=1)
    assert result["model"] == "efficientnet-lite0@1"
    assert set(result["timings"]) == {"queued", "decode", "predict"}


async def test_an_image_may_be_the_whole_body(http: aiohttp.ClientSession) -> None:
    headers = {"Content-Type": "image/png"}
    async with http.post("/predict", data=CAT, headers=headers) as reply:
        result = await reply.json()

    assert reply.status == 200
    assert result["response"]["label"] in CATS


async def test_what_an_image_is_called_and_declared_as_does_not_matter(
    http: aiohttp.ClientSession,
) -> None:
    body = aiohttp.FormData(quote_fields=False)
    body.add_field("image", CAT, filename="../../notes.txt", content_type="text/plain")
    async with http.post("/predict", data=body) as reply:
        result = await reply.json()

    assert reply.status == 200
    assert result["response"]["image"] == "../../notes.txt"


async def test_an_async_predict_is_receipted_at_once_and_its_result_follows(
    http: aiohttp.ClientSession,
) -> None:
    async with http.post("/asyncPredict", data=form(CAT)) as reply:
        receipt = await reply.json()
        assert reply.status == 200
    request_id = receipt["request_id"]

    assert receipt == {
        "request_id": request_id,
        "status": "Success",
        "response": "Async request got sent",
    }
    assert reply.headers["Location"] == f"/predictResults/{request_id}"
    result = await finished(http, request_id)
    assert result["status"] == "Success"
    assert result["response"]["label"] in CATS
    assert result["completedAt"] >= result["createdAt"]


async def test_results_are_listed_newest_first_whole_and_in_pages(
    http: aiohttp.ClientSession,
) -> None:
    made = [await submit(http, CAT) for _ in range(5)]
    for request_id in made:
        await finished(http, request_id)

    async with http.get("/predictResults") as reply:
        everything = [result["request_id"] for result in await reply.json()]
    paged: list[str] = []
    url = "/predictResults?limit=2&status=success"
    while url:
        async with http.get(url) as reply:
            paged += [result["request_id"] for result in await reply.json()]
            url = str(URL(reply.links["next"]["url"]).relative()) if "next" in reply.links else ""

    assert everything[:5] == made[::-1]
    assert paged == everything


async def test_results_since_a_moment_are_those_created_from_then_on(
    http: aiohttp.ClientSession,
) -> None:
    await finished(http, await submit(http, CAT))
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    async with http.get("/predictResults", params={"since": tomorrow}) as reply:
        assert await reply.json() == []
    async with http.get("/predictResults", params={"since": "2020-01-01T00:00:00Z"}) as reply:
        assert await reply.json()


@pytest.mark.parametrize("where", ["query", "form"])
async def test_an_image_is_saved_when_asked_and_deleted_with_its_result(
    http: aiohttp.ClientSession, server: ServerProcess, where: str
) -> None:
    asked = {"save_locally": "True"}
    query, fields = (asked, {}) if where == "query" else ({}, asked)
    async with http.post(
        "/predict", params=query, data=form(CAT, "../my cat.png", **fields)
    ) as reply:
        request_id = (await reply.json())["request_id"]
    folder = server.data_dir / "images" / request_id

    assert [file.name for file in folder.iterdir()] == ["my_cat.png"]
    assert (folder / "my_cat.png").read_bytes() == CAT
    async with http.delete(f"/delete/{request_id}") as reply:
        assert await reply.json() == {
            "status": "Success",
            "response": f"Result {request_id} is deleted.",
        }
    assert not folder.exists()


async def test_an_image_is_not_saved_when_not_asked(
    http: aiohttp.ClientSession, server: ServerProcess
) -> None:
    async with http.post("/predict?save_locally=False", data=form(CAT)) as reply:
        request_id = (await reply.json())["request_id"]
    assert not (server.data_dir / "images" / request_id).exists()


async def test_an_async_predict_saves_its_image_too(
    http: aiohttp.ClientSession, server: ServerProcess
) -> None:
    request_id = await submit(http, CAT, save_locally="true")
    await finished(http, request_id)
    assert (server.data_dir / "images" / request_id / "photo.jpg").read_bytes() == CAT


async def test_delete_all_deletes_every_result_and_saved_image(
    http: aiohttp.ClientSession, server: ServerProcess
) -> None:
    async with http.post("/predict?save_locally=1", data=form(CAT)) as reply:
        assert reply.status == 200
    async with http.delete("/deleteAll") as reply:
        answer = await reply.json()
    async with http.get("/predictResults") as reply:
        left = await reply.json()

    assert answer["status"] == "Success"
    assert re.fullmatch(r"\d+ results? (is|are) deleted\.", answer["response"])
    assert left == []
    assert not (server.data_dir / "images").exists()


async def test_status_tells_what_runs_and_what_is_kept(http: aiohttp.ClientSession) -> None:
    await finished(http, await submit(http, CAT))
    figures = await status(http)

    assert figures["status"] == "Alive"
    assert figures["ready"] is True
    assert figures["model"] == {"name": "efficientnet-lite0", "version": "1"}
    assert figures["workers"]["alive"] == figures["workers"]["total"] >= 1
    assert figures["results"]["total"] >= figures["results"]["Success"] >= 1
    assert figures["queue"]["waiting"] == 0


async def test_liveness_and_readiness_answer(http: aiohttp.ClientSession) -> None:
    for path in ("/livez", "/readyz"):
        async with http.get(path) as reply:
            assert reply.status == 200, path
        async with http.head(path) as reply:
            assert reply.status == 200, path


async def test_a_request_id_header_is_echoed_or_made(
    http: aiohttp.ClientSession, server: ServerProcess
) -> None:
    async with http.get("/status", headers={"X-Request-ID": "abc-123"}) as reply:
        assert reply.headers["X-Request-ID"] == "abc-123"
    async with http.get("/status", headers={"X-Request-ID": "a b"}) as reply:
        assert re.fullmatch("[0-9a-f]{32}", reply.headers["X-Request-ID"])
    line = server.wait_for_line(r"GET /status .*abc-123").string
    assert re.search(r"INFO\s+GET /status 200 \d+ ms abc-123$", line)


async def test_many_clients_each_get_the_answer_to_their_own_image(
    http: aiohttp.ClientSession,
) -> None:
    async def ask(number: int) -> None:
        async with http.post("/predict", data=form(CAT, f"{number}.png")) as reply:
            assert (await reply.json())["response"]["image"] == f"{number}.png"

    await asyncio.gather(*map(ask, range(50)))
