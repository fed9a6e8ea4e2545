"""A large object on its way to S3: a multipart upload, of which nothing shows before its end."""

import asyncio
import contextlib
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

from server.remote import RemoteError
from server.remote.s3_checksum import PartChecksums
from server.remote.s3_connection import S3Connection
from server.remote.s3_errors import strange

Names = dict[str, Any]  # Any: what all requests of an upload say, for botocore


class S3Upload:
    """One upload: add parts in order, then complete it. `begun` makes it and clears it away.

    Args:
        connection: To the bucket.
        names: Bucket, Key and UploadId.
    """

    def __init__(self, connection: S3Connection, names: Names) -> None:
        self._connection = connection
        self._names = names
        self._parts: list[dict[str, str | int]] = []
        self._checksums = PartChecksums()
        self._size = 0

    async def add(self, part: bytes) -> None:
        """Send the next part; all but the last must have PART bytes.

        Raises:
            RemoteError: The store did not confirm it.
        """
        proof = await asyncio.to_thread(self._checksums.add, part)
        number = self._checksums.count
        async with self._connection.asking(self._connection.deadlines.call) as client:
            reply = await client.upload_part(
                **self._names,
                PartNumber=number,
                Body=part,
                ContentMD5=b64encode(bytes.fromhex(proof.etag)).decode(),
                ChecksumSHA256=proof.sha256,
            )
        if not proof.confirmed_by(reply):
            raise strange(self._connection.url)
        self._size += len(part)
        self._parts.append(
            {"PartNumber": number, "ETag": reply["ETag"], "ChecksumSHA256": proof.sha256}
        )

    async def complete(self) -> int:
        """Make the object of its parts; gives its size in bytes.

        Raises:
            ConflictError: There is an object under the key already.
            RemoteError: The store did not confirm it.
        """
        try:
            async with self._connection.asking(self._connection.deadlines.complete) as client:
                reply = await client.complete_multipart_upload(
                    **self._names, MultipartUpload={"Parts": self._parts}, IfNoneMatch="*"
                )
        except RemoteError:
            with contextlib.suppress(RemoteError):  # it may be done, and only the answer lost
                if self._checksums.whole().confirmed_by(await self._found()):
                    return self._size
            raise
        found = await self._found()
        same = bool(reply.get("ETag")) and reply["ETag"] == found.get("ETag")
        if not same or found.get("ContentLength") != self._size:
            raise strange(self._connection.url)
        return self._size

    async def abort(self) -> None:
        """Have the store forget the parts, if it can be reached."""
        with contextlib.suppress(RemoteError):
            async with self._connection.asking(self._connection.deadlines.call) as client:
                await client.abort_multipart_upload(**self._names)

    async def _found(self) -> Names:
        """What the store says of the object now."""
        where = {name: self._names[name] for name in ("Bucket", "Key")}
        async with self._connection.asking(self._connection.deadlines.call) as client:
            found: Names = await client.head_object(**where, ChecksumMode="ENABLED")
        return found


@contextlib.asynccontextmanager
async def begun(connection: S3Connection, bucket: str, name: str) -> AsyncIterator[S3Upload]:
    """An upload that is aborted unless all went well; cancelling waits for that, too."""
    async with connection.asking(connection.deadlines.call) as client:
        reply = await client.create_multipart_upload(
            Bucket=bucket,
            Key=name,
            ChecksumAlgorithm="SHA256",
            **connection.options.of_new_objects(),
        )
    if not reply.get("UploadId"):
        raise strange(connection.url)
    upload = S3Upload(connection, {"Bucket": bucket, "Key": name, "UploadId": reply["UploadId"]})
    try:
        yield upload
    except BaseException:
        await asyncio.shield(upload.abort())
        raise
