"""One target under a fuzzer that is guided by coverage: atheris, which is libFuzzer.

Started by `tests.hostile.fuzz` with TARGET INPUTS SEED FOLDER. Ends with exit code 0 after so many
inputs, or at the first for which something does not hold, or that takes too long or too much
memory: that one is a file in the folder then.
"""

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn

import atheris

READERS: Final = [
    *("multipart", "server.web.form", "server.web.upload", "server.web.parameters"),
    *("PIL", "server.model.header", "server.model.image"),
]
"""What is watched for coverage: as little as can be, for it takes time."""

with atheris.instrument_imports(include=READERS):
    from tests.hostile.fuzz import images, uploads

SECONDS: Final = 5
"""In which an input must be done."""

MEGABYTES: Final = 512
"""Memory of the process, of which the fuzzer and the libraries take 160."""

MAX_INPUT: Final = 16_000
EVERY: Final = 10.0
"""Seconds between two lines of progress."""

TARGETS: Final[dict[str, Any]] = {"uploads": uploads, "images": images}  # Any: they are modules


class Progress:
    """Counts the inputs of a target, and tells of them now and then."""

    def __init__(self, name: str, inputs: int, folder: Path) -> None:
        self._name, self._inputs, self._folder = name, inputs, folder
        self._check: Callable[[bytes], bool] = TARGETS[name].check
        self._began = self._told = time.monotonic()
        self._count = self._accepted = 0

    def __call__(self, data: bytes) -> None:
        """Check an input; one that fails is kept."""
        self._count += 1
        try:
            self._accepted += self._check(data)
        except BaseException:
            self._folder.joinpath(f"crash-{self._count}").write_bytes(data)
            raise
        now = time.monotonic()
        if self._count == self._inputs or now - self._told > EVERY:
            self._told = now
            rate = self._count / (now - self._began)
            print(
                f"{self._name}: {self._count:,} of {self._inputs:,} inputs, {self._accepted:,}"
                f" accepted, {rate:,.0f} a second",
                flush=True,
            )


def mutate(data: bytes, most: int, seed: int) -> bytes:
    """Another input, mostly with its checksums put right."""
    data = atheris.Mutate(data, most)
    return images.mended(data)[:most] if seed % 8 else data


def quoted(token: bytes) -> str:
    """A line of the fuzzer's dictionary."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in token) + '"\n'


def main(name: str, inputs: str, seed: str, folder: str) -> NoReturn:
    """Fuzz; libFuzzer ends the process."""
    warnings.simplefilter("ignore")  # Pillow's, of broken images
    target, corpus = TARGETS[name], Path(folder, "corpus")
    corpus.mkdir()
    for number, data in enumerate(target.seeds()):
        corpus.joinpath(str(number)).write_bytes(data)
    words = Path(folder, "dictionary")
    words.write_text("".join(quoted(token) for token in target.TOKENS if len(token) < 64))
    options = (
        *(f"-runs={inputs}", f"-seed={seed}", f"-timeout={SECONDS}", f"-rss_limit_mb={MEGABYTES}"),
        *(f"-max_len={MAX_INPUT}", f"-dict={words}", f"-artifact_prefix={folder}/", "-verbosity=0"),
    )
    mutator = {"custom_mutator": mutate} if target is images else {}
    atheris.Setup(
        ["fuzz", *options, str(corpus)], Progress(name, int(inputs), Path(folder)), **mutator
    )
    atheris.Fuzz()
    raise SystemExit


if __name__ == "__main__":
    main(*sys.argv[1:])
