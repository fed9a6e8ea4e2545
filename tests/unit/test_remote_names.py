from pathlib import Path

import pytest

from server.remote.connect import check_url, connect
from server.remote.s3_options import S3Options
from tests.remotes import pieces

BAD_KEYS = ["", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", ".hidden", "a/.tmp-1"]
BAD_KEYS += ["a\\b", "a\nb", "a\0", "é", "a" * 251, "a/" * 500 + "a"]


@pytest.mark.parametrize("key", BAD_KEYS)
async def test_a_key_that_not_every_store_takes_is_refused(tmp_path: Path, key: str) -> None:
    remote = connect(f"file://{tmp_path}/remote", S3Options())
    with pytest.raises(ValueError, match="no key"):
        await remote.write(key, b"", replaces=None)
    with pytest.raises(ValueError, match="no key"):
        await remote.read(key)
    with pytest.raises(ValueError, match="no key"):
        await remote.write_stream(key, pieces(1))
    with pytest.raises(ValueError, match="no key"):
        await remote.delete(["good", key])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("s3://my.bucket-1/a/prefix/", "s3://my.bucket-1/a/prefix"),
        ("file:///backup/of%20us/", "file:///backup/of%20us"),
    ],
)
def test_a_url_names_a_remote(url: str, read: str) -> None:
    assert check_url(url) == read
    assert connect(url, S3Options()).url == read


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "give s3://bucket"),
        ("bucket", "give s3://bucket"),
        ("https://bucket.s3.amazonaws.com", "give s3://bucket"),
        ("s3:/bucket", "give s3://bucket"),
        ("s3://", "no bucket"),
        ("s3://b", "no bucket"),
        ("s3://b_@ucket", "no credentials"),
        ("s3://AKIA:secret@bucket", "no credentials"),
        ("s3://bucket//a", "a prefix"),
        ("s3://bucket/a//b", "a prefix"),
        ("s3://bucket/../b", "a prefix"),
        ("s3://bucket/a?region=b", "a prefix"),
        ("s3://bucket/" + "a" * 101, "a prefix"),
        ("file://folder", "three slashes"),
        ("file://", "three slashes"),
        ("file:///", "below /"),
        ("file:///a/../b", r"without \.\."),
        ("file:///a/%2e%2e/b", r"without \.\."),
    ],
)
def test_any_other_url_is_refused(url: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        check_url(url)
    assert "secret" not in str(caught.value)
