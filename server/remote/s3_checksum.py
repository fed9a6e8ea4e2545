"""What shows that bytes arrived: the checksums that S3 gives, of one part and of many."""

import asyncio
import hashlib
from base64 import b64encode
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final, NamedTuple

from botocore.exceptions import FlexibleChecksumError

from server.remote.parts import in_parts

_PIECE: Final = 2**20


class Proof(NamedTuple):
    """What a store says that has the very bytes: either of these.

    Attributes:
        sha256: SHA-256 in base64; of an object in parts, that of its parts' and their number.
        etag: MD5 in hexadecimal, or the like of parts. Encrypted objects have other ETags.
    """

    sha256: str
    etag: str

    def confirmed_by(self, reply: Mapping[str, Any]) -> bool:
        """Whether a reply proves that the store has these bytes. Any: as botocore gives it."""
        etag = reply.get("ETag", "").strip('"')
        return bool(etag) and (reply.get("ChecksumSHA256") == self.sha256 or etag == self.etag)


class PartChecksums:
    """The checksums of an object that is written or read in parts."""

    def __init__(self) -> None:
        self.count = 0
        self._sha256, self._md5 = bytearray(), bytearray()

    def add(self, part: bytes) -> Proof:
        """Count the next part in; gives its own proof."""
        sha256, md5 = hashlib.sha256(part), hashlib.md5(part, usedforsecurity=False)
        self._sha256 += sha256.digest()
        self._md5 += md5.digest()
        self.count += 1
        return Proof(b64encode(sha256.digest()).decode(), md5.hexdigest())

    def whole(self) -> Proof:
        """The proof of all parts as one object."""
        sha256 = b64encode(hashlib.sha256(self._sha256).digest()).decode()
        md5 = hashlib.md5(self._md5, usedforsecurity=False).hexdigest()
        return Proof(f"{sha256}-{self.count}", f"{md5}-{self.count}")


def proof_of(data: bytes) -> Proof:
    """The proof of an object that is written at once."""
    return PartChecksums().add(data)


async def checked_parts(reply: Mapping[str, Any]) -> AsyncGenerator[bytes, None]:
    """The body of a GET in parts; ends by an error unless it is complete and undamaged.

    botocore checks an object that was written at once. One in parts it does not: here that is
    done if its parts are as large as ours. Any: as botocore gives it.
    """
    checksums, given = PartChecksums(), reply.get("ChecksumSHA256", "")
    async for part in in_parts(reply["Body"].iter_chunks(_PIECE)):
        await asyncio.to_thread(checksums.add, part)
        yield part
    if given.endswith(f"-{checksums.count}") and given != checksums.whole().sha256:
        raise FlexibleChecksumError(error_msg="the parts are not those that were written")
