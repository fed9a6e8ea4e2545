"""The physical limit: processes that decode and infer, photo after photo, with no server at all.

`python -m tools.bench.limit SECONDS PROCESSES FILE...` prints the images a second of all of them
together and the milliseconds that one image takes in the middle. A large JPEG is decoded at a
reduced scale, which is the fastest way to what the model needs.
"""

import io
import json
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import cycle
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median
from typing import NamedTuple

from PIL import Image

from tools.bench.models import Photo


class Limit(NamedTuple):
    """Images a second, and the milliseconds of one in the middle."""

    rate: float
    p50: float


def measure(files: Sequence[Path], processes: int, seconds: float) -> Limit:
    """The limit, in processes of their own."""
    command = [sys.executable, "-m", "tools.bench.limit", str(seconds), str(processes)]
    done = subprocess.run(  # noqa: S603 - this very module
        [*command, *map(str, files)],
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
        cwd=Path(__file__).parents[2],
    )
    return Limit(*json.loads(done.stdout))


def decode(data: bytes) -> Image.Image:
    """An upright RGB photo, no smaller than the model needs."""
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", Photo.input_size)
    return image.convert("RGB")


def _work(files: Sequence[str], seconds: float, start: Barrier) -> tuple[float, float]:
    """What one process does: images a second, milliseconds of one."""
    photos = cycle([Path(file).read_bytes() for file in files])
    model = Photo()
    model.load()
    model.warmup()
    start.wait()
    took = []
    began = last = time.perf_counter()
    while last - began < seconds:
        model.predict([decode(next(photos))])
        now = time.perf_counter()
        took.append(now - last)
        last = now
    return len(took) / (last - began), median(took) * 1000


def _job(given: tuple[Sequence[str], float]) -> tuple[float, float]:
    return _work(*given, _start)


_start: Barrier


def _share(start: Barrier) -> None:
    global _start  # noqa: PLW0603 - a barrier can only be inherited
    _start = start


def main(seconds: float, processes: int, files: Sequence[str]) -> None:
    """Run them at once and print the figures."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(processes)
    with context.Pool(processes, _share, (start,)) as pool:
        found = pool.map(_job, [(files, seconds)] * processes, chunksize=1)
    print(json.dumps([sum(rate for rate, _ in found), median(p50 for _, p50 in found)]))


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
