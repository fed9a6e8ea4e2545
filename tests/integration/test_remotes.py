"""What every remote does, asked of each: of a folder and of a real S3 server."""

import asyncio
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from server.remote import MAX_READ, ConflictError, MissingError, Remote, RemoteError
from server.remote.connect import connect
from server.remote.parts import PART
from server.remote.s3 import S3Remote
from server.remote.s3_options import S3Options
from tests.remotes import MIB, joined, keys, pieces
from tools.s3_server import S3Server

LARGE = 96 * MIB  # more than `read` gives, and far more than a stream may hold
HELD = 48 * MIB


@pytest.fixture(params=["folder", "s3"])
async def remote(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Remote]:
    """An empty one of each kind."""
    url = f"file://{tmp_path}/remote"
    if request.param == "s3":
        url = f"s3://{request.getfixturevalue('bucket')}/of/a/server"
    remote = connect(url, S3Options())
    yield remote
    await remote.close()


async def outcomes(number: int, write: Callable[[int], asyncio.Future[None]]) -> list[object]:
    """What each of so many at once got: None, or its error."""
    return list(await asyncio.gather(*map(write, range(number)), return_exceptions=True))


async def test_what_was_written_is_read(remote: Remote) -> None:
    await remote.write("changes/1.json", b"one", replaces=None)
    await remote.write("changes/2.json", b"", replaces=None)
    assert (await remote.read("changes/1.json")).data == b"one"
    assert (await remote.read("changes/2.json")).data == b""


async def test_a_list_tells_size_and_time(remote: Remote) -> None:
    before = int(time.time())
    await remote.write("changes/1.json", b"one", replaces=None)
    [found] = [found async for found in remote.list("")]
    assert (found.key, found.size) == ("changes/1.json", 3)
    assert before <= found.modified <= time.time()


async def test_a_new_object_replaces_none(remote: Remote) -> None:
    await remote.write("key", b"first", replaces=None)
    with pytest.raises(ConflictError, match="key"):
        await remote.write("key", b"second", replaces=None)
    assert (await remote.read("key")).data == b"first"


async def test_writing_the_same_again_is_no_conflict(remote: Remote) -> None:
    await remote.write("key", b"first", replaces=None)
    tag = (await remote.read("key")).tag
    await remote.write("key", b"first", replaces=None)
    await remote.write("key", b"second", replaces=tag)
    await remote.write("key", b"second", replaces=tag)
    assert (await remote.read("key")).data == b"second"


async def test_an_object_is_replaced_by_whom_knows_its_version(remote: Remote) -> None:
    await remote.write("key", b"first", replaces=None)
    first = await remote.read("key")
    await remote.write("key", b"second", replaces=first.tag)
    second = await remote.read("key")
    assert second.data == b"second"
    assert second.tag != first.tag
    with pytest.raises(ConflictError):
        await remote.write("key", b"third", replaces=first.tag)
    assert await remote.read("key") == second


async def test_what_is_not_there_is_not_replaced(remote: Remote) -> None:
    await remote.write("other", b"first", replaces=None)
    tag = (await remote.read("other")).tag
    with pytest.raises(ConflictError):
        await remote.write("key", b"first", replaces=tag)
    assert await keys(remote) == ["other"]


async def test_of_ten_racing_writers_one_wins(remote: Remote) -> None:
    def write(number: int) -> asyncio.Future[None]:
        return asyncio.ensure_future(
            remote.write("key", b"%d of %d" % (number, racers), replaces=tag)
        )

    tag = None
    for racers in (10, 4):  # to make it, then to replace it
        found = await outcomes(racers, write)
        assert found.count(None) == 1
        assert sum(isinstance(error, ConflictError) for error in found) == racers - 1
        blob = await remote.read("key")
        assert blob.data == b"%d of %d" % (found.index(None), racers)
        tag = blob.tag


async def test_more_than_a_thousand_objects_are_listed_in_order_and_deleted(
    remote: Remote,
) -> None:
    names = [f"changes/{number // 600}/{number:06}" for number in range(1010)]
    gate = asyncio.Semaphore(8)

    async def write(name: str) -> None:
        async with gate:
            await remote.write(name, b"x", replaces=None)

    await asyncio.gather(*map(write, reversed(names)))
    assert await keys(remote) == names
    await remote.delete([*names[1:], "changes/0/missing", "missing/too"])
    assert await keys(remote) == names[:1]


async def test_a_list_holds_what_begins_so(remote: Remote) -> None:
    names = ["MANIFEST.json", "changes/01", "changes/02", "changes/1/0", "snapshot/01/1"]
    for name in names:
        await remote.write(name, b"x", replaces=None)
    assert await keys(remote, "") == names
    assert await keys(remote, "changes/") == names[1:4]
    assert await keys(remote, "changes/0") == names[1:3]
    assert await keys(remote, "change") == names[1:4]
    assert await keys(remote, "changes/1/") == names[3:4]
    assert await keys(remote, "changes/01") == names[1:2]
    assert await keys(remote, "missing/") == []


async def test_a_remote_that_nothing_was_written_to_is_empty(remote: Remote) -> None:
    assert await keys(remote) == []
    await remote.delete([])
    await remote.delete(["missing"])


async def test_a_missing_object_is_said_to_be_missing(remote: Remote) -> None:
    with pytest.raises(MissingError, match="missing"):
        await remote.read("missing")
    with pytest.raises(MissingError, match="missing"):
        await joined(remote.stream("missing"))


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 20 * MIB])
async def test_a_stream_comes_back_as_it_was(remote: Remote, size: int) -> None:
    sent = await joined(pieces(size))
    assert await remote.write_stream("snapshot/1", pieces(size)) == size
    assert await joined(remote.stream("snapshot/1")) == sent
    assert (await remote.read("snapshot/1")).data == sent
    assert [found.size async for found in remote.list("")] == [size]


async def test_streams_of_any_size_take_little_memory(remote: Remote) -> None:
    await remote.write("warm", b"up", replaces=None)
    tracemalloc.start()
    try:
        assert await remote.write_stream("snapshot/1", pieces(LARGE)) == LARGE
        assert sum([len(piece) async for piece in remote.stream("snapshot/1")]) == LARGE
        assert tracemalloc.get_traced_memory()[1] < HELD
    finally:
        tracemalloc.stop()
    assert LARGE > MAX_READ
    with pytest.raises(RemoteError, match="snapshot/1 has more than"):
        await remote.read("snapshot/1")


async def test_a_stream_that_fails_leaves_nothing(remote: Remote) -> None:
    async def failing() -> AsyncIterator[bytes]:
        async for piece in pieces(20 * MIB):
            yield piece
        raise KeyError("the database")

    with pytest.raises(KeyError, match="the database"):
        await remote.write_stream("snapshot/1", failing())
    assert await keys(remote) == []


async def test_a_cancelled_stream_leaves_nothing(remote: Remote) -> None:
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        async for piece in pieces(10 * MIB):
            yield piece
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(remote.write_stream("snapshot/1", endless()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await keys(remote) == []


@pytest.mark.parametrize("size", [5, 9 * MIB])
async def test_a_stream_replaces_nothing(remote: Remote, size: int) -> None:
    await remote.write("snapshot/1", b"first", replaces=None)
    with pytest.raises(ConflictError):
        await remote.write_stream("snapshot/1", pieces(size))
    assert (await remote.read("snapshot/1")).data == b"first"


async def test_a_stream_may_be_left_in_the_middle(remote: Remote) -> None:
    await remote.write_stream("snapshot/1", pieces(20 * MIB))
    stream = remote.stream("snapshot/1")
    await anext(stream)
    await stream.aclose()
    assert (await remote.read("snapshot/1")).data == await joined(pieces(20 * MIB))


async def test_odd_keys_are_kept_apart(remote: Remote) -> None:
    names = ["a b", "a%20b", "a+b", "a&b=c?d#e", "(a)'!*", 'a:b@c,d;e$f"', "{a}|^`<>~", "x" * 250]
    names += ["A", "a", "z" * 100 + "/" + "y" * 200 + "/0"]
    for name in names:
        await remote.write(name, name.encode(), replaces=None)
    assert sorted(await keys(remote)) == sorted(names)
    for name in names:
        assert (await remote.read(name)).data == name.encode()
    await remote.delete(names)
    assert await keys(remote) == []


async def test_a_failed_upload_costs_no_storage(s3: S3Server, bucket: str) -> None:
    async def failing() -> AsyncIterator[bytes]:
        async for piece in pieces(20 * MIB):
            yield piece
        raise KeyError

    remote = connect(f"s3://{bucket}", S3Options())
    with pytest.raises(KeyError):
        await remote.write_stream("snapshot/1", failing())
    assert not s3.client.list_multipart_uploads(Bucket=bucket).get("Uploads")
    await remote.close()


async def test_objects_get_the_storage_class_and_encryption_asked_for(
    s3: S3Server, bucket: str
) -> None:
    options = S3Options(storage_class="STANDARD_IA", encryption="AES256")
    remote = connect(f"s3://{bucket}/p", options)
    await remote.write("small", b"small", replaces=None)
    await remote.write_stream("large", pieces(9 * MIB))
    assert (await remote.read("small")).data == b"small"
    assert len(await joined(remote.stream("large"))) == 9 * MIB
    for name in ("small", "large"):
        found = s3.client.head_object(Bucket=bucket, Key=f"p/{name}")
        assert found["StorageClass"] == "STANDARD_IA"
        assert found["ServerSideEncryption"] == "AES256"
    await remote.close()


async def test_two_prefixes_of_a_bucket_are_two_remotes(bucket: str) -> None:
    one, other = (S3Remote(bucket, prefix, S3Options()) for prefix in ("p", "p1"))
    await one.write("key", b"one", replaces=None)
    await other.write("key", b"other", replaces=None)
    assert await keys(one) == await keys(other) == ["key"]
    await one.delete(["key"])
    assert (await other.read("key")).data == b"other"
    await one.close()
    await other.close()
