"""The S3 remote when the network or the store fails: never a false success."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import pytest

from server.remote import ConflictError, MissingError, RemoteError
from server.remote.s3 import S3Remote
from server.remote.s3_connection import Deadlines
from server.remote.s3_options import S3Options
from tests.remotes import MIB, joined, keys, pieces
from tools.s3_proxy import Fault, S3Proxy
from tools.s3_server import SECRET_KEY, S3Server

BUCKET = "the-test-bucket"  # of the plugin
SMALL = b"what was exported " * 100
SIZE = 9 * MIB
LARGE = b"".join(bytes([number]) * MIB for number in range(9))
HASTY = Deadlines(connect=0.5, silence=0.5, call=1, read=1, complete=1)
PATIENT = Deadlines(connect=2, silence=2, call=20, read=20, complete=20)
HARMLESS = {Fault.DELAY}
FOR_WRITERS = {Fault.CORRUPT_REQUEST}

Operation = Callable[[S3Remote], Awaitable[object]]


async def listed(remote: S3Remote) -> list[str]:
    return await keys(remote, "kept/")


async def data_of_small(remote: S3Remote) -> bytes:
    return (await remote.read("kept/small")).data


WRITES: Mapping[str, Operation] = {
    "new/small": lambda remote: remote.write("new/small", SMALL, replaces=None),
    "new/large": lambda remote: remote.write_stream("new/large", pieces(SIZE)),
}
READS: Mapping[str, tuple[Operation, object]] = {
    "read": (data_of_small, SMALL),
    "stream": (lambda remote: joined(remote.stream("kept/large")), LARGE),
    "list": (listed, ["kept/large", "kept/small"]),
}


async def outcome(operation: Awaitable[object]) -> object:
    """What it gave, or its RemoteError; no other error gets through."""
    try:
        return await operation
    except RemoteError as error:
        return error


@pytest.fixture
async def proxy(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[S3Proxy]:
    """Between the client and a bucket with two objects in it."""
    put = s3.client.put_object
    async with S3Proxy(s3.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        for name in ("kept/small", "other"):
            await asyncio.to_thread(put, Bucket=bucket, Key=name, Body=SMALL)
        remote = S3Remote(bucket, "", S3Options(), PATIENT)
        await remote.write_stream("kept/large", pieces(SIZE))
        await remote.close()
        proxy.requests.clear()
        yield proxy


@pytest.fixture
async def remote(proxy: S3Proxy, bucket: str) -> AsyncIterator[S3Remote]:  # noqa: ARG001
    """One that soon gives up, connected by the proxy."""
    remote = S3Remote(bucket, "", S3Options(), HASTY)
    yield remote
    await remote.close()


@pytest.fixture
async def patient(proxy: S3Proxy, bucket: str) -> AsyncIterator[S3Remote]:  # noqa: ARG001
    """One that has time to try again."""
    remote = S3Remote(bucket, "", S3Options(), PATIENT)
    yield remote
    await remote.close()


def stored(s3: S3Server) -> dict[str, bytes]:
    """What the server really has, asked past the proxy."""
    entries = s3.client.list_objects_v2(Bucket=BUCKET).get("Contents", ())
    get = s3.client.get_object
    return {entry["Key"]: get(Bucket=BUCKET, Key=entry["Key"])["Body"].read() for entry in entries}


@pytest.mark.parametrize("fault", Fault)
async def test_a_lasting_fault_is_an_error_soon_and_never_a_false_success(
    fault: Fault, proxy: S3Proxy, patient: S3Remote, remote: S3Remote, s3: S3Server
) -> None:
    remote = patient if fault in HARMLESS | FOR_WRITERS else remote
    await listed(remote)  # a connection is open
    proxy.fault, proxy.delay = fault, 0.1
    began = time.monotonic()
    operations = [operation for operation, _ in READS.values()] + list(WRITES.values())
    operations.append(lambda remote: remote.delete(["other"]))
    results = await asyncio.gather(*(outcome(operation(remote)) for operation in operations))
    assert time.monotonic() - began < 6
    proxy.fault = None

    found = await asyncio.to_thread(stored, s3)
    reads, (small, large, deleted) = results[: len(READS)], results[len(READS) :]
    for got, (_, expected) in zip(reads, READS.values(), strict=True):
        harmless = fault in HARMLESS | FOR_WRITERS
        right = got == expected if harmless else isinstance(got, RemoteError)
        assert right, type(got)  # pytest would compare nine megabytes for long
    for got, name, data in ((small, "new/small", SMALL), (large, "new/large", LARGE)):
        whole, kept = found.get(name) == data, name in found
        assert whole if kept else isinstance(got, RemoteError)
        assert not isinstance(got, RemoteError) or fault not in HARMLESS, got
    assert isinstance(deleted, RemoteError) or "other" not in found
    for error in results:
        assert SECRET_KEY not in str(error)


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.INTERNAL])
async def test_a_passing_fault_is_overcome(
    fault: Fault, proxy: S3Proxy, patient: S3Remote, s3: S3Server
) -> None:
    for method in ("PUT", "POST"):
        proxy.inject(fault, methods={method})
        await patient.write_stream(f"new/{method}", pieces(SIZE))
    proxy.inject(fault)
    await patient.write("new/small", SMALL, replaces=None)
    proxy.inject(fault)
    await patient.delete(["kept/large", "kept/small", "other"])
    found = await asyncio.to_thread(stored, s3)
    large = {f"new/{method}": LARGE for method in ("PUT", "POST")}
    assert (found == {**large, "new/small": SMALL}) is True


async def test_a_lost_answer_to_a_replacement_is_overcome(
    proxy: S3Proxy, patient: S3Remote
) -> None:
    tag = (await patient.read("kept/small")).tag
    proxy.inject(Fault.CUT_AFTER)
    await patient.write("kept/small", b"replaced", replaces=tag)
    assert (await patient.read("kept/small")).data == b"replaced"
    assert proxy.requests["PUT"] == 2


async def test_a_lost_answer_to_the_end_of_a_stream_is_overcome(
    proxy: S3Proxy, patient: S3Remote
) -> None:
    async def losing() -> AsyncIterator[bytes]:
        async for piece in pieces(SIZE):
            yield piece
        proxy.inject(Fault.CUT_AFTER, methods={"POST"})

    assert await patient.write_stream("new/large", losing()) == len(LARGE)
    assert (await joined(patient.stream("new/large")) == LARGE) is True


@pytest.mark.parametrize("fault", [Fault.CONFLICT, Fault.PRECONDITION])
async def test_a_conflict_that_is_none_is_found_out(
    fault: Fault, proxy: S3Proxy, remote: S3Remote
) -> None:
    proxy.inject(fault, times=2)
    with pytest.raises(ConflictError):
        await remote.write("new/small", SMALL, replaces=None)
    await remote.write("new/small", SMALL, replaces=None)
    proxy.inject(fault)
    await remote.write("new/small", SMALL, replaces=None)


async def test_a_page_of_html_is_no_empty_list_and_no_missing_object(
    proxy: S3Proxy, remote: S3Remote
) -> None:
    proxy.fault = Fault.HTML
    for operation in (listed(remote), remote.read("missing"), remote.delete(["missing"])):
        with pytest.raises(RemoteError, match="did not answer as S3 does") as caught:
            await operation
        assert not isinstance(caught.value, MissingError)


async def test_a_clock_that_is_wrong_is_said_to_be(proxy: S3Proxy, remote: S3Remote) -> None:
    proxy.fault = Fault.SKEWED
    with pytest.raises(RemoteError, match=r"RequestTimeTooSkewed\): this machine's clock"):
        await remote.write("new/small", SMALL, replaces=None)


@pytest.mark.parametrize("method", ["PUT", "POST", "GET"])
async def test_a_store_that_hangs_is_given_up(
    method: str, proxy: S3Proxy, remote: S3Remote
) -> None:
    began = time.monotonic()
    proxy.inject(Fault.HANG, times=100, methods={method})
    with pytest.raises(RemoteError, match="did not answer in time"):
        await (READS["list"][0] if method == "GET" else WRITES["new/large"])(remote)
    assert time.monotonic() - began < 4


async def test_a_read_that_stalls_is_given_up(proxy: S3Proxy, remote: S3Remote) -> None:
    proxy.fault, proxy.delay = Fault.DELAY, 30
    began = time.monotonic()
    with pytest.raises(RemoteError, match="did not answer in time"):
        await joined(remote.stream("kept/large"))
    assert time.monotonic() - began < 4


async def test_a_cancelled_write_ends_at_once(proxy: S3Proxy, patient: S3Remote) -> None:
    proxy.fault = Fault.HANG
    task = asyncio.create_task(patient.write("new/small", SMALL, replaces=None))
    async with asyncio.timeout(5):
        while not proxy.requests["PUT"]:
            await asyncio.sleep(0.01)
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 2


async def test_a_server_that_was_killed_has_what_it_confirmed(s3: S3Server, bucket: str) -> None:
    remote = S3Remote(bucket, "", S3Options(), PATIENT)
    await remote.write("kept/small", SMALL, replaces=None)
    await remote.write_stream("kept/large", pieces(SIZE))
    s3.kill()
    try:
        with pytest.raises(RemoteError, match="can't be reached: check the network"):
            await remote.write("new/small", SMALL, replaces=None)
    finally:
        await asyncio.to_thread(s3.start)
    await remote.write("new/small", SMALL, replaces=None)
    for name, data in {"kept/small": SMALL, "kept/large": LARGE, "new/small": SMALL}.items():
        assert ((await remote.read(name)).data == data) is True
    await remote.close()
