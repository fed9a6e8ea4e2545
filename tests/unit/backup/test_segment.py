"""Segments: what was packed is unpacked, and nothing else is taken for it."""

import contextlib
import os
import tracemalloc
from collections.abc import AsyncIterator

import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from server.backup.segment import ENOUGH, MAX_LINE, SegmentWriter, pack, unpack
from server.errors import BackupUnusableError

LINES = [b'{"n":%d}' % number for number in range(500)]
HEADER = {"writer": "w", "number": 1}


async def pieces(data: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def unpacked(data: bytes, size: int = 1000) -> list[bytes]:
    return [line async for some in unpack("the file", pieces(data, size)) for line in some]


def compressed(*lines: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(b"".join(lines))


@pytest.mark.parametrize("size", [1, 7, 1000, 2**20])
async def test_lines_come_back_in_order_however_the_bytes_arrive(size: int) -> None:
    assert await unpacked(pack(HEADER, LINES), size) == LINES


@given(lines=st.lists(st.binary(min_size=1).filter(lambda line: b"\n" not in line)))
async def test_any_lines_come_back(lines: list[bytes]) -> None:
    assert await unpacked(pack(HEADER, lines)) == lines


async def test_what_is_written_piece_by_piece_is_the_same() -> None:
    writer = SegmentWriter()
    data = writer.begin(HEADER)
    for start in range(0, len(LINES), 7):
        some = LINES[start : start + 7]
        data += writer.add(b"\n".join(some), len(some))
    data += writer.end()
    assert writer.lines == len(LINES)
    assert await unpacked(data) == LINES


async def test_a_segment_cut_anywhere_is_refused() -> None:
    data = pack(HEADER, LINES[:20])
    for end in range(len(data)):
        with pytest.raises(BackupUnusableError, match=r"the file .*Nothing was changed"):
            await unpacked(data[:end])


async def test_a_segment_with_a_flipped_bit_is_refused() -> None:
    data = bytearray(pack(HEADER, LINES[:20]))
    unnoticed = 0
    for place in range(len(data)):
        data[place] ^= 4
        with contextlib.suppress(BackupUnusableError):
            unnoticed += await unpacked(bytes(data)) != LINES[:20]
        data[place] ^= 4
    assert not unnoticed


@pytest.mark.parametrize("more", [b"x", b"\0", bytes(1000), pack(HEADER, [])])
async def test_a_segment_that_was_added_to_is_refused(more: bytes) -> None:
    with pytest.raises(BackupUnusableError):
        await unpacked(pack(HEADER, LINES) + more)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>Welcome</html>",
        compressed(b""),
        compressed(b"<html>\nWelcome\n</html>\n"),
        compressed(b"[]\n", b"{}\n", b"{}\n"),
        compressed(b'{"format":1}\n'),
        compressed(b'{"format":1}\n{"lines":0}\n'),
        compressed(b'{"format":1}\n{"lines":0,"sha256":"00"}\n'),
    ],
)
async def test_what_is_no_segment_is_refused(data: bytes) -> None:
    with pytest.raises(BackupUnusableError, match="the file"):
        await unpacked(data)


@pytest.mark.parametrize("version", [2, 0, "1", None])
async def test_a_segment_of_another_format_is_refused(version: object) -> None:
    with pytest.raises(BackupUnusableError, match=r"format .* use a newer one"):
        await unpacked(pack({"format": version}, LINES))


async def test_a_line_left_out_is_noticed() -> None:
    whole = zstandard.ZstdDecompressor().decompressobj().decompress(pack(HEADER, LINES[:3]))
    lines = whole.splitlines(keepends=True)
    assert orjson.loads(lines[-1])["lines"] == 3
    with pytest.raises(BackupUnusableError, match="corrupt"):
        await unpacked(compressed(*lines[:2], *lines[3:]))


async def test_what_expands_enormously_is_given_out_bit_by_bit() -> None:
    """Two hundred answers of a mebibyte that compress to a few kibibytes."""
    line = b'"' + b"a" * 2**20 + b'"'
    writer = SegmentWriter()
    data = writer.begin(HEADER)
    data += b"".join(writer.add(line, 1) for _ in range(200)) + writer.end()
    assert len(data) < 50_000
    count, most = 0, 0
    async for some in unpack("the file", pieces(data, 2**20)):
        count += len(some)
        most = max(most, sum(map(len, some)))
    assert count == 200
    assert most < 12 * 2**20


async def test_memory_is_bounded_for_what_does_not_compress() -> None:
    writer = SegmentWriter()
    parts = [writer.begin(HEADER)]
    parts += [writer.add(os.urandom(2**19).hex().encode(), 1) for _ in range(40)]
    data = b"".join([*parts, writer.end()])
    tracemalloc.start()
    try:
        count = 0
        async for some in unpack("the file", pieces(data, 2**20)):
            count += len(some)
            del some
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 40
    assert peak < 16 * ENOUGH


async def test_a_line_without_end_is_refused_before_it_fills_the_memory() -> None:
    data = compressed(b'{"format":1}\n', b"a" * (MAX_LINE + 9 * 2**20))
    with pytest.raises(BackupUnusableError, match="more than 64 MiB"):
        await unpacked(data)
