"""The S3 remote when what it is told is wrong: each mistake is named."""

import ssl
from pathlib import Path
from typing import Any

import pytest

from server.remote import RemoteError
from server.remote.connect import connect
from server.remote.s3_errors import explained
from server.remote.s3_options import S3Options
from tests.certificates import self_signed
from tests.remotes import MIB, joined, keys, pieces
from tools.s3_proxy import S3Proxy
from tools.s3_server import SECRET_KEY, S3Server

LARGE = 9 * MIB


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, r"SignatureDoesNotMatch\): check the credentials"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, r"InvalidAccessKeyId\): check the credentials"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "no usable credentials"),
        ({"AWS_PROFILE": "missing"}, "no usable credentials"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "can't be reached"),
        ({"AWS_ENDPOINT_URL": "http://no.such.host.invalid"}, "can't be reached"),
        ({"AWS_ENDPOINT_URL": "no url"}, "can't be used"),
    ],
)
async def test_wrong_settings_are_named(
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
    sentence: str,
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    remote = connect(f"s3://{bucket}", S3Options())
    with pytest.raises(RemoteError, match=sentence) as caught:
        await remote.read("key")
    assert type(caught.value) is RemoteError
    assert SECRET_KEY not in str(caught.value)
    await remote.close()


async def test_a_missing_bucket_is_no_missing_object(bucket: str) -> None:
    remote = connect(f"s3://{bucket}x", S3Options())
    for operation in (
        remote.write("key", b"", replaces=None),
        remote.write("key", b"", replaces='"tag"'),
        remote.read("key"),
        remote.delete(["key"]),
        keys(remote),
    ):
        with pytest.raises(RemoteError, match="there is no such bucket") as caught:
            await operation
        assert type(caught.value) is RemoteError
    await remote.close()


async def test_a_certificate_is_checked_by_the_file_given(
    s3: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with S3Proxy(s3.port, context) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        trusting = connect(f"s3://{bucket}", S3Options(ca_bundle=certificate))
        await trusting.write_stream("large", pieces(LARGE))
        assert await joined(trusting.stream("large")) == await joined(pieces(LARGE))
        await trusting.close()
        wary = connect(f"s3://{bucket}", S3Options())
        with pytest.raises(RemoteError, match="can't be trusted"):
            await wary.read("large")
        await wary.close()
        mistaken = connect(f"s3://{bucket}", S3Options(ca_bundle=tmp_path / "missing.pem"))
        with pytest.raises(RemoteError, match="can't be"):
            await mistaken.read("large")
        await mistaken.close()


def test_the_type_of_an_unknown_error_is_told_and_no_more() -> None:
    error: Any = RuntimeError(SECRET_KEY)
    assert "(RuntimeError)" in str(explained("s3://bucket", error))
    assert SECRET_KEY not in str(explained("s3://bucket", error))
