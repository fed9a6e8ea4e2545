"""The API keys: read from a file, each with a name and what it allows."""

import hashlib
import hmac
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

MIN_LENGTH: Final = 16
"""Characters of the shortest key that is taken: what is shorter can be guessed."""

_HASH: Final = "sha256:"
_NAME: Final = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_DIGEST: Final = re.compile(r"[0-9A-Fa-f]{64}")


class Scope(StrEnum):
    """What a key allows. `admin` allows all."""

    READ = "read"
    PREDICT = "predict"
    ADMIN = "admin"


class BadKeyFileError(Exception):
    """A key file can't be used; one line that says why, and never holds what the file holds."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key: its name, which logs may hold, what it allows, and the SHA-256 of its secret."""

    name: str
    scopes: frozenset[Scope]
    digest: bytes

    def allows(self, scope: Scope) -> bool:
        """Whether a request that needs this scope may be made with the key."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


class ApiKeys:
    """The keys that a server takes."""

    def __init__(self, keys: tuple[ApiKey, ...]) -> None:
        self.keys: Final = keys

    @classmethod
    def load(cls, file: Path) -> "ApiKeys":
        """The keys of a file: lines of a name, scopes and a key; `#` begins a comment.

        Raises:
            BadKeyFileError: It can't be read, has no key, or a line is wrong.
        """
        try:
            text = file.read_text("utf-8-sig")
        except OSError as error:
            raise BadKeyFileError(f"it can't be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise BadKeyFileError("it is no text in UTF-8") from None
        keys = tuple(_distinct(text))
        if not keys:
            raise BadKeyFileError("it has no key; write lines of a name, its scopes and a key")
        return cls(keys)

    def find(self, secret: str) -> ApiKey | None:
        """The key with that secret. The time it takes tells nothing of the keys."""
        digest = _sha256(secret)
        found = None
        for key in self.keys:  # all of them, whichever it is
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found


def exposes_secrets(file: Path) -> bool:
    """Whether everybody on this machine can read keys there; hashes of keys are no secret."""
    if not file.stat().st_mode & stat.S_IROTH:
        return False
    lines = (line.partition("#")[0].split() for line in file.read_text("utf-8-sig").splitlines())
    return any(fields and not fields[-1].startswith(_HASH) for fields in lines)


def _distinct(text: str) -> Iterator[ApiKey]:
    """The key of each line; names and keys are all different."""
    lines: dict[str | bytes, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.partition("#")[0].split()
        if not fields:
            continue
        try:
            key = _parse(fields)
        except ValueError as error:
            raise BadKeyFileError(f"line {number}: {error}") from None
        for what, value in (("name", key.name), ("key", key.digest)):
            first = lines.setdefault(value, number)
            if first != number:
                raise BadKeyFileError(f"line {number}: it has the {what} of line {first}")
        yield key


def _parse(fields: list[str]) -> ApiKey:
    if len(fields) != 3:
        raise ValueError("it must have a name, scopes and a key, as in: ci read,predict <key>")
    name, scopes, secret = fields
    if not _NAME.fullmatch(name):
        raise ValueError("the name must be 1 to 64 letters, digits and . _ @ -")
    if not set(scopes.split(",")) <= set(Scope):
        raise ValueError(f"the scopes must be of {', '.join(Scope)}, comma-separated")
    return ApiKey(name, frozenset(map(Scope, scopes.split(","))), _digest(secret))


def _digest(secret: str) -> bytes:
    if secret.startswith(_HASH):
        digits = secret.removeprefix(_HASH)
        if not _DIGEST.fullmatch(digits):
            raise ValueError(f"{_HASH} must be followed by 64 hexadecimal digits")
        return bytes.fromhex(digits)
    if len(secret) < MIN_LENGTH:
        raise ValueError(f"the key is shorter than {MIN_LENGTH} characters; take a random one")
    if not (secret.isascii() and secret.isprintable()):
        raise ValueError("the key must be printable ASCII, as it travels in a header")
    return _sha256(secret)


def _sha256(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
