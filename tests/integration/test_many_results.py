"""Many stored results: listing them takes no memory."""

from pathlib import Path

import aiohttp
import apsw
import pytest

from server.store.schema import migrate
from tests.integration.conftest import Start
from tests.server_process import ServerProcess

COUNT = 200_000
RESPONSE = b'{"image":"cat.jpg","label":"cat","confidence":0.5,"annotations":[%b]}' % b",".join(
    [b'{"type":"class","label":"Egyptian cat","confidence":0.40953972935676575}'] * 6
)


@pytest.fixture
def filled(start: Start, tmp_path: Path) -> ServerProcess:
    """A server that finds `COUNT` results, 120 MB as JSON, a second apart."""
    (tmp_path / "data").mkdir()
    connection = apsw.Connection(str(tmp_path / "data" / "predictions.db"))
    migrate(connection)
    connection.execute(
        """
        WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
        INSERT INTO predictions (request_id, status, created_at, completed_at, response)
        SELECT printf('%08x-0000-4000-8000-000000000000', n), 'Success', n * 1000, n * 1000, ?
        FROM numbers
        """,
        (COUNT, RESPONSE),
    )
    connection.close()
    return start("--model", "tests/models.py:Colours").ready()


async def test_the_whole_list_is_streamed_without_standing_in_memory(filled: ServerProcess) -> None:
    before = filled.resident()
    received = results = 0
    async with aiohttp.ClientSession(filled.url) as http:
        async with http.get("/predictResults") as reply:
            assert reply.status == 200
            async for chunk in reply.content.iter_any():
                received += len(chunk)
                results += chunk.count(b'"status":"Success"')

    assert received > 100_000_000
    assert results >= COUNT - received // 2**16  # some are cut in two by the chunks
    assert filled.resident() - before < 50_000_000


async def test_the_newest_page_comes_first_and_names_the_next(filled: ServerProcess) -> None:
    async with aiohttp.ClientSession(filled.url) as http:
        async with http.get("/predictResults?limit=100") as reply:
            page = await reply.json()
    assert [int(result["request_id"][:8], 16) for result in page] == [
        *range(COUNT, COUNT - 100, -1)
    ]
    assert "next" in reply.links
