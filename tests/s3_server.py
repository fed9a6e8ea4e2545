"""The S3 server of the tests: fixtures, for conftest files."""

from collections.abc import Iterator

import pytest

from tools.s3_server import S3Server, s3_server

BUCKET = "the-test-bucket"
_NOT_THE_DEVELOPERS = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_CA_BUNDLE")


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """The server; who kills it starts it again."""
    with s3_server() as server:
        yield server


@pytest.fixture
def bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The test bucket, empty; the environment leads clients to it."""
    for name in _NOT_THE_DEVELOPERS:
        monkeypatch.delenv(name, raising=False)
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    if BUCKET in {found["Name"] for found in s3.client.list_buckets()["Buckets"]}:
        _empty(s3)
    else:
        s3.make_bucket(BUCKET)  # one for all: the first write to a new one takes long
    return BUCKET


def _empty(s3: S3Server) -> None:
    """Remove all objects, and the uploads that were not ended."""
    while found := s3.client.list_objects_v2(Bucket=BUCKET).get("Contents"):
        names = [{"Key": entry["Key"]} for entry in found]
        s3.client.delete_objects(Bucket=BUCKET, Delete={"Objects": names})
    for upload in s3.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", ()):
        key, number = upload["Key"], upload["UploadId"]
        s3.client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=number)
