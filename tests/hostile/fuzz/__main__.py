"""Fuzzes what reads uploads and images: make fuzz ARGS="--inputs 1000000 --images 100000 --seed 7".

Ends with exit code 1 when something does not hold for an input, which is printed. A seed sends the
same inputs again, with the same code and Python.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from tests.server_process import ROOT


def fuzz(target: str, inputs: int, seed: int) -> bool:
    """Fuzz one target; whether all went well."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.hostile.fuzz.engine"]
        with Path(folder, "log").open("w+") as log:
            ended = subprocess.run(
                [*command, target, str(inputs), str(seed), folder],
                check=False,
                cwd=ROOT,
                env={"PYTHONHASHSEED": "0"},
                stderr=log,
            )
            bad = list(found(Path(folder)))
            if ended.returncode or bad:
                log.seek(0)
                print(*(line for line in log if " Instrumenting " not in line), sep="")
    seconds = time.monotonic() - began
    well = ended.returncode == 0 and not bad
    verdict = "all well" if well else f"ended with exit code {ended.returncode} by"
    print(f"{target}: {inputs:,} inputs, {seconds:.0f} s: {verdict}", *bad, sep="\n")
    return well


def found(folder: Path) -> Iterator[str]:
    """What the fuzzer left: an input for which something did not hold, and how."""
    for kind in ("crash", "timeout", "oom"):
        for file in folder.glob(f"{kind}-*"):
            yield f"{kind}: {file.read_bytes()!r}"
            break


def main() -> int:
    """Fuzz all; the exit code."""
    parser = argparse.ArgumentParser("python -m tests.hostile.fuzz")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="uploads")
    parser.add_argument("--images", type=int, default=100_000, help="images")
    parser.add_argument("--seed", type=int, default=7, help="another seed, other inputs")
    given = parser.parse_args()
    if not find_spec("atheris"):
        print("the fuzzer, atheris, is there for Linux on x86_64 only")
        return 2
    uploads_well = fuzz("uploads", given.inputs, given.seed)
    images_well = fuzz("images", given.images, given.seed)
    return int(not (uploads_well and images_well))


if __name__ == "__main__":
    sys.exit(main())
