"""The remote in an S3 bucket, of AWS or of any store that speaks its protocol."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, Final

from server.remote import MAX_READ, Blob, ConflictError, MissingError, Object, RemoteError
from server.remote.keys import checked, checked_prefix, is_key
from server.remote.parts import PART, in_parts
from server.remote.s3_checksum import checked_parts, proof_of
from server.remote.s3_connection import Deadlines, S3Connection
from server.remote.s3_errors import strange
from server.remote.s3_options import S3Options
from server.remote.s3_upload import begun

__all__ = ["Deadlines", "S3Options", "S3Remote"]

_BATCH: Final = 1000
"""Keys that S3 lists or deletes in one request."""


class S3Remote:
    """A `Remote` on S3.

    Args:
        bucket: Its name.
        prefix: What stands before every key, without slashes at its ends; may be empty.
        options: What the usual AWS variables do not say.
        deadlines: How long things may take.
    """

    def __init__(
        self, bucket: str, prefix: str, options: S3Options, deadlines: Deadlines | None = None
    ) -> None:
        self.url = f"s3://{bucket}/{prefix}".removesuffix("/")
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._deadlines = deadlines or Deadlines()
        self._connection = S3Connection(self.url, options, self._deadlines)

    async def read(self, key: str) -> Blob:
        """A small object, whole and undamaged."""
        async with self._connection.asking(self._deadlines.read) as client:
            reply = await self._get(client, key)
            async with reply["Body"]:
                if reply["ContentLength"] > MAX_READ:
                    raise RemoteError(f"{self.url}/{key} has more than {MAX_READ} bytes: remove it")
                data = b"".join([part async for part in checked_parts(reply)])
        return Blob(data, reply["ETag"])

    async def stream(self, key: str) -> AsyncGenerator[bytes, None]:
        """A large object in parts, each within its deadline."""
        async with self._connection.asking(self._deadlines.call) as client:
            reply = await self._get(client, key)
        async with reply["Body"], aclosing(checked_parts(reply)) as parts:
            while True:
                async with self._connection.asking(self._deadlines.call):
                    part = await anext(parts, b"")
                if not part:
                    return
                yield part

    async def write(self, key: str, data: bytes, *, replaces: str | None) -> None:
        """Keep these bytes, if what is there is what the caller thinks."""
        try:
            confirmed = await self._put(key, data, replaces)
        except (ConflictError, MissingError):
            # Our own object is in the way if an answer was lost and the request repeated.
            if not await self._holds(key, data):
                raise ConflictError(f"{self.url}/{key} was changed by another server") from None
            return
        if not confirmed and not await self._holds(key, data):
            raise strange(self.url)

    async def write_stream(self, key: str, pieces: AsyncIterator[bytes]) -> int:
        """Keep a new object of any size: at once if it is small, else as a multipart upload."""
        name = self._name(key)
        async with aclosing(in_parts(pieces)) as parts:
            first = await anext(parts, b"")
            if len(first) < PART:  # there is no other
                await self.write(key, first, replaces=None)
                return len(first)
            async with begun(self._connection, self._bucket, name) as upload:
                await upload.add(first)
                async for part in parts:
                    await upload.add(part)
                return await upload.complete()

    async def list(self, prefix: str) -> AsyncIterator[Object]:
        """Every object whose key begins so, a thousand to a request."""
        asked: dict[str, str] = {"Prefix": self._prefix + checked_prefix(prefix)}
        while True:
            async with self._connection.asking(self._deadlines.call) as client:
                reply = await client.list_objects_v2(Bucket=self._bucket, MaxKeys=_BATCH, **asked)
                if "IsTruncated" not in reply:
                    raise strange(self.url)
            for entry in reply.get("Contents", ()):
                key = entry["Key"].removeprefix(self._prefix)
                if is_key(key):  # not a folder, as web consoles make them
                    yield Object(key, entry["Size"], entry["LastModified"].timestamp())
            if not reply["IsTruncated"]:
                return
            asked["ContinuationToken"] = reply["NextContinuationToken"]

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove objects, a thousand to a request."""
        for start in range(0, len(keys), _BATCH):
            names = {self._name(key) for key in keys[start : start + _BATCH]}
            async with self._connection.asking(self._deadlines.call) as client:
                reply = await client.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": [{"Key": name} for name in names]}
                )
            self._check_deleted(names, reply)

    async def close(self) -> None:
        """End the connections."""
        await self._connection.close()

    def _name(self, key: str) -> str:
        return self._prefix + checked(key)

    async def _get(self, client: Any, key: str) -> dict[str, Any]:  # Any: as botocore gives it
        reply: dict[str, Any] = await client.get_object(Bucket=self._bucket, Key=self._name(key))
        if not reply.get("ETag"):
            reply["Body"].close()
            raise strange(self.url)
        return reply

    async def _put(self, key: str, data: bytes, replaces: str | None) -> bool:
        """Ask the store to write; gives whether it confirmed these bytes."""
        proof = await asyncio.to_thread(proof_of, data)
        async with self._connection.asking(self._deadlines.call) as client:
            reply = await client.put_object(
                Bucket=self._bucket,
                Key=self._name(key),
                Body=data,
                ContentMD5=b64encode(bytes.fromhex(proof.etag)).decode(),
                ChecksumSHA256=proof.sha256,
                **({"IfNoneMatch": "*"} if replaces is None else {"IfMatch": replaces}),
                **self._connection.options.of_new_objects(),
            )
        return proof.confirmed_by(reply)

    async def _holds(self, key: str, data: bytes) -> bool:
        """Whether these very bytes are under the key."""
        try:
            return (await self.read(key)).data == data
        except MissingError:
            return False

    def _check_deleted(self, names: set[str], reply: dict[str, Any]) -> None:
        """Some stores answer 200 and name the keys that they did not remove."""
        for error in reply.get("Errors", ()):
            if error.get("Code") != "NoSuchKey":
                raise RemoteError(
                    f"{self.url} did not delete all objects ({error.get('Code', 'no code')}):"
                    " check that the credentials may delete there"
                )
        if names - {gone["Key"] for gone in reply.get("Deleted", ())}:
            raise strange(self.url)
