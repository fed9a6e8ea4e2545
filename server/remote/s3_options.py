"""The options of S3 that the usual AWS variables do not say."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class S3Options:
    """How a bucket is spoken to, and how objects are kept there.

    Attributes:
        path_style: The bucket stands in the path, not in the host's name; None: as it fits.
        storage_class: Of the objects that are written.
        encryption: At rest, of the objects that are written.
        kms_key: The key's id or ARN, for aws:kms.
        ca_bundle: The file of certificates that the store's is checked by.
    """

    path_style: bool | None = None
    storage_class: str | None = None
    encryption: Literal["AES256", "aws:kms"] | None = None
    kms_key: str | None = None
    ca_bundle: Path | None = None

    def of_new_objects(self) -> dict[str, str]:
        """What each request that makes an object says about it."""
        given = {
            "StorageClass": self.storage_class,
            "ServerSideEncryption": self.encryption,
            "SSEKMSKeyId": self.kms_key,
        }
        return {name: value for name, value in given.items() if value}
