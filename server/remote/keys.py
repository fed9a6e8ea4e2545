"""Which keys an object may have: those that every store takes and keeps apart."""

from typing import Final

_MAX_KEY: Final = 900  # S3 takes 1,024 with the prefix of the remote
_MAX_PART: Final = 250  # a file's name may have 255


def is_key(key: str) -> bool:
    r"""Whether an object of ours may have this key.

    Parts are of printable ASCII without backslashes, joined by single slashes; none is empty or
    begins with a dot: so no key leaves its folder, and names with a dot are free for other uses.
    """
    return (
        len(key) <= _MAX_KEY
        and key.isascii()
        and key.isprintable()
        and "\\" not in key
        and all(part and part[0] != "." and len(part) <= _MAX_PART for part in key.split("/"))
    )


def checked(key: str) -> str:
    """The key, if it is one.

    Raises:
        ValueError: It isn't.
    """
    if not is_key(key):
        raise ValueError(f"no key of an object: {key!r}")
    return key


def checked_prefix(prefix: str) -> str:
    """What keys begin with, if some can: nothing, whole parts, or some of one.

    Raises:
        ValueError: None can.
    """
    if prefix:
        checked(prefix.removesuffix("/"))
    return prefix
