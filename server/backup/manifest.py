"""The manifest: the one object that says which snapshots count, changed by compare-and-swap."""

import asyncio
import random
from collections.abc import Iterable
from typing import Final, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from server.backup.layout import MANIFEST, Group
from server.backup.segment import FORMAT, require_known
from server.errors import BackupUnusableError
from server.remote import ConflictError, MissingError, Remote

TRIES: Final = 20
"""How often the manifest is written again because another server changed it meanwhile."""


class Listed(BaseModel):
    """A snapshot that counts.

    Attributes:
        key: Where it is.
        created_at: When it was made, for people.
        results: How many results it holds.
        lines: How many lines, deletions among them.
        bytes: Its size, compressed.
        sha256: Of its bytes.
        covers: Writers, and the number of the last group of each that holds nothing more than it.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    key: str
    created_at: str
    results: NonNegativeInt
    lines: NonNegativeInt
    bytes: NonNegativeInt
    sha256: str
    covers: dict[str, NonNegativeInt]


class Manifest(BaseModel):
    """The snapshots that count; a backup is all of them and the changes that none covers."""

    model_config = ConfigDict(frozen=True, strict=True)

    format: int = FORMAT
    snapshots: tuple[Listed, ...] = ()

    def covers(self, group: Group) -> bool:
        """Whether a snapshot makes a group of changes needless."""
        return any(group.number <= each.covers.get(group.writer, 0) for each in self.snapshots)

    def covered(self) -> dict[str, int]:
        """Every writer with the number of its last group that is covered."""
        found: dict[str, int] = {}
        for each in self.snapshots:
            for writer, number in each.covers.items():
                found[writer] = max(number, found.get(writer, 0))
        return found

    def replaced(self, new: Listed, absorbed: Iterable[str]) -> "Manifest":
        """This one with a new snapshot in place of those whose content it has."""
        gone = {new.key, *absorbed}
        return Manifest(snapshots=(*(old for old in self.snapshots if old.key not in gone), new))


class Version(NamedTuple):
    """The manifest as it was read; without a tag there is none yet."""

    manifest: Manifest
    tag: str | None


async def read(remote: Remote) -> Version:
    """The manifest.

    Raises:
        BackupUnusableError: It is foreign, corrupt or of a newer server.
        RemoteError: The remote fails.
    """
    try:
        data, tag = await remote.read(MANIFEST)
    except MissingError:
        return Version(Manifest(), None)
    return Version(_parse(data, f"{remote.url}/{MANIFEST}"), tag)


async def add(remote: Remote, new: Listed, absorbed: Iterable[str]) -> Manifest:
    """Make a snapshot count, from now on in place of those whose content it has.

    Raises:
        BackupUnusableError: The manifest that is there can't be read.
        RemoteError: The remote fails, or other servers change the manifest all the time.
    """
    absorbed = set(absorbed)
    for attempt in range(1, TRIES + 1):
        version = await read(remote)
        manifest = version.manifest.replaced(new, absorbed)
        data = orjson.dumps(manifest.model_dump(), option=orjson.OPT_INDENT_2)
        try:
            await remote.write(MANIFEST, data, replaces=version.tag)
        except ConflictError:
            if attempt == TRIES:
                raise
            await asyncio.sleep(random.uniform(0, 0.1 * attempt))  # noqa: S311 - out of step
        else:
            break
    return manifest


def _parse(data: bytes, name: str) -> Manifest:
    try:
        found = orjson.loads(data)
        version = found["format"]
    except (ValueError, KeyError, TypeError):
        raise BackupUnusableError(
            f"{name} is not one of this server's backups: choose another --remote."
        ) from None
    require_known(name, version)
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BackupUnusableError(f"{name} is corrupt: {where}: {first['msg']}.") from None
