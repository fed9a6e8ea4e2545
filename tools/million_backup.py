"""A backup of very many results, written and read without the server, as `docs/backup.md` says."""

import hashlib
import io
import json
import os
import random
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import zstandard

from tools.s3_server import S3Server

ROWS = 500
BUCKET = "million"


class Place(Protocol):
    """Where the backup is: written and read past the server."""

    url: str
    environment: dict[str, str]

    def put(self, key: str, data: io.BufferedIOBase) -> None:
        """Keep an object."""

    def get(self, key: str) -> Iterator[bytes]:
        """An object, in pieces."""


class Folder:
    """A folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.url = path.as_uri()
        self.environment: dict[str, str] = {}

    def put(self, key: str, data: io.BufferedIOBase) -> None:
        """Keep an object, on the disk."""
        path = self._path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            while piece := data.read(2**20):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())

    def get(self, key: str) -> Iterator[bytes]:
        """An object, in pieces."""
        with (self._path / key).open("rb") as file:
            while piece := file.read(2**20):
                yield piece


class Bucket:
    """A bucket of an S3 server."""

    def __init__(self, s3: S3Server) -> None:
        self._client = s3.client
        self.url = f"s3://{s3.make_bucket(BUCKET)}"
        self.environment = dict(s3.environment)

    def put(self, key: str, data: io.BufferedIOBase) -> None:
        """Keep an object, part by part."""
        name = {"Bucket": BUCKET, "Key": key}
        upload = self._client.create_multipart_upload(**name)["UploadId"]
        parts: list[dict[str, Any]] = []
        while piece := data.read(8 * 2**20):
            number = len(parts) + 1
            done = self._client.upload_part(**name, UploadId=upload, PartNumber=number, Body=piece)
            parts.append({"PartNumber": number, "ETag": done["ETag"]})
        self._client.complete_multipart_upload(
            **name, UploadId=upload, MultipartUpload={"Parts": parts}
        )

    def get(self, key: str) -> Iterator[bytes]:
        """An object, in pieces."""
        yield from self._client.get_object(Bucket=BUCKET, Key=key)["Body"].iter_chunks(2**20)


def lines(results: int, seed: int) -> Iterator[bytes]:
    """Results as a backup has them, some lines at a time."""
    dice = random.Random(seed)  # noqa: S311 - the same ones each time
    labels = ("Egyptian cat", "tiger cat", "tabby cat", "lynx", "window screen")
    start = 1_790_000_000_000
    for first in range(0, results, ROWS):
        batch = []
        for number in range(first, min(first + ROWS, results)):
            at = start + 7 * number
            scores = [round(dice.random(), 6) for _ in labels]
            found = [
                {"type": "class", "label": label, "confidence": score}
                for label, score in zip(labels, scores, strict=True)
            ]
            moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at // 1000))
            batch.append(
                _dumped(
                    {
                        "request_id": str(
                            uuid.UUID(int=at << 80 | dice.getrandbits(80) | 7 << 76, version=4)
                        ),
                        "status": "Success",
                        "response": {
                            "image": f"photo{number}.jpg",
                            "label": labels[0],
                            "confidence": scores[0],
                            "annotations": found,
                        },
                        "createdAt": f"{moment}.{at % 1000:03}Z",
                        "completedAt": f"{moment}.{at % 1000:03}Z",
                        "error": None,
                        "model": "efficientnet-lite0@1",
                        "timings": {"queued": 0.03, "decode": 1.975, "predict": 7.278},
                    }
                )
            )
        yield b"\n".join(batch) + b"\n"


def _dumped(record: dict[str, Any]) -> bytes:  # Any: as JSON has it
    return json.dumps(record, separators=(",", ":")).encode()


def write_backup(place: Place, results: int, file: io.BufferedRandom) -> str:
    """Write a snapshot and its manifest, as `docs/backup.md` says; the hash of all its lines.

    Args:
        place: Where to.
        results: How many.
        file: Gets the lines, uncompressed.
    """
    compressor = zstandard.ZstdCompressor(3).compressobj()
    hasher, content = hashlib.sha256(), hashlib.sha256()
    with tempfile.TemporaryFile() as compressed:

        def add(text: bytes) -> None:
            hasher.update(text)
            compressed.write(compressor.compress(text))

        add(b'{"format":1,"writer":"the tool"}\n')
        for text in lines(results, 1):
            content.update(text)
            file.write(text)
            add(text)
        footer = {"lines": results, "sha256": hasher.hexdigest()}
        compressed.write(compressor.compress(json.dumps(footer).encode() + b"\n"))
        compressed.write(compressor.flush())
        size = compressed.tell()
        compressed.seek(0)
        total = hashlib.file_digest(compressed, "sha256").hexdigest()
        compressed.seek(0)
        key = "snapshot/by-a-tool.ndjson.zst"
        place.put(key, compressed)
    listed = {
        "key": key, "created_at": "2026-01-31T12:00:00Z", "results": results, "lines": results,
        "bytes": size, "sha256": total, "covers": {},
    }  # fmt: skip
    place.put(
        "MANIFEST.json", io.BytesIO(json.dumps({"format": 1, "snapshots": [listed]}).encode())
    )
    return content.hexdigest()


def exported_hash(place: Place) -> str:
    """The hash of the lines of the newest snapshot that are older than the tool's predicts."""
    newest = json.loads(b"".join(place.get("MANIFEST.json")))["snapshots"][-1]["key"]
    hasher = hashlib.sha256()
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    rest = b""
    for piece in place.get(newest):
        *found, rest = (rest + decompressor.decompress(piece)).split(b"\n")
        for line in found:
            if b'"image":"photo' in line:
                hasher.update(_dumped(json.loads(line)) + b"\n")
    return hasher.hexdigest()
