"""The remotes that a URL can name."""

import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from server.remote import Remote
from server.remote.folder import FolderRemote
from server.remote.keys import is_key
from server.remote.s3_options import S3Options

_FORMS: Final = "give s3://bucket, s3://bucket/prefix or file:///folder"
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_MAX_PREFIX: Final = 100  # a key has up to 900 of the 1,024 bytes that S3 takes


def check_url(url: str) -> str:
    """The URL without slashes at its end, if it names a remote; nothing is connected to.

    Raises:
        ValueError: It doesn't; the sentence says what would, and repeats nothing of it.
    """
    scheme, separator, rest = url.partition("://")
    if separator and scheme == "s3":
        _check_bucket(*_bucket_and_prefix(rest))
    elif separator and scheme == "file":
        _check_folder(unquote(rest))
    else:
        raise ValueError(f"no remote has such a URL: {_FORMS}")
    return url.rstrip("/")


def connect(url: str, options: S3Options) -> Remote:
    """The remote; it is reached for when it is first used.

    Raises:
        ValueError: The URL names none.
    """
    scheme, _, rest = check_url(url).partition("://")
    if scheme == "s3":
        # it costs what a server with another remote need not pay: memory, and time at the start
        from server.remote.s3 import S3Remote  # noqa: PLC0415

        return S3Remote(*_bucket_and_prefix(rest), options)
    return FolderRemote(Path(unquote(rest)))


def _bucket_and_prefix(rest: str) -> tuple[str, str]:
    bucket, _, prefix = rest.rstrip("/").partition("/")
    return bucket, prefix


def _check_bucket(bucket: str, prefix: str) -> None:
    if "@" in bucket:
        raise ValueError("a remote's URL has no credentials in it: set the usual AWS variables")
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(f"no bucket has such a name: {_FORMS}")
    if prefix and (not is_key(prefix) or len(prefix) > _MAX_PREFIX or set("?#") & set(prefix)):
        raise ValueError(
            f"a prefix has at most {_MAX_PREFIX} ASCII characters, no ? or #, and no part that"
            f" is empty or begins with a dot: {_FORMS}"
        )


def _check_folder(path: str) -> None:
    if not path.startswith("/"):
        raise ValueError("a folder's URL has three slashes and its whole path: file:///folder")
    if not path.strip("/") or "\0" in path or ".." in path.split("/"):
        raise ValueError("a folder's URL names one below /, without ..: file:///folder")
