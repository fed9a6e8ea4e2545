"""Pillow's own test images, each posted once: python -m tests.hostile.pillow pillow-13.0.0.tar.gz.

Prints the list that stands in pillow.txt; the archive is that of the package index. What is
answered by anything but a 200 or a 4xx ends it with exit code 1.
"""

import re
import sys
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from tests.hostile.client import exchange
from tests.hostile.wire import Case, post
from tests.server_process import ready_server

SETTINGS = ("--model", "tests/hostile/model.py:Sizes", "--workers", "1")
WIDTH = 100


def images(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Every file in the folder of test images, by its path in there."""
    with tarfile.open(archive) as tar:
        for member in sorted(tar.getmembers(), key=lambda each: each.name):
            parts = PurePosixPath(member.name).parts
            if member.isfile() and parts[1:3] == ("Tests", "images"):
                file = tar.extractfile(member)
                assert file
                yield "/".join(parts[3:]), file.read()


def answers(archive: Path) -> dict[str, list[str]]:
    """The names of the files, by what they were answered."""
    found: dict[str, list[str]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        with ready_server(Path(folder) / "data", *SETTINGS) as server:
            for name, data in images(archive):
                reply, *_ = exchange(server.url, Case(name, post(data, "image/png"), 200))
                found[reason(reply.status, reply.envelope)].append(name)
        assert "Traceback" not in server.log, server.log
    return dict(sorted(found.items()))


def reason(status: int, envelope: dict[str, str]) -> str:
    """What was answered, without what is another for each image."""
    if status == 200:
        return "200"
    sentence = re.sub(r"[\d,]*\d|0x\w+|'[^']*'", "#", envelope["response"].partition(". It is")[0])
    return f"{status} {envelope['error']}: {sentence}"


def wrapped(names: list[str]) -> Iterator[str]:
    """The names in lines of about the same length, so that each is found with a search."""
    line = ""
    for name in names:
        if line and len(line) + len(name) > WIDTH:
            yield line
            line = ""
        line += f"  {name}"
    yield line


def main() -> int:
    """Print the lists; the exit code."""
    found = answers(Path(sys.argv[1]))
    for said, names in found.items():
        print(f"{said} ({len(names)})", *wrapped(names), "", sep="\n")  # noqa: T201 - its purpose
    return int(not all(said.startswith(("200", "4")) for said in found))


if __name__ == "__main__":
    sys.exit(main())
