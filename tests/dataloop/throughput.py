"""How fast a dataset run is, against the server's own rate on the same images.

`python -m tests.dataloop.throughput` starts the gate and a server, each in a process of its own,
asks `/predict` for real photos as fast as it answers, then lets the tool annotate the same photos,
in turns. It prints each ratio and the median.
"""

import argparse
import asyncio
import io
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import aiohttp
from PIL import Image

from tests.dataloop.conftest import run_tool
from tests.dataloop.gate import DATASET, Gate
from tests.photos import photo
from tests.server_process import ServerProcess

PHOTOS = ("chelsea.png", "coffee.png", "astronaut.png", "rocket.jpg", "hubble_deep_field.jpg")
CLIENTS = 16
SERVE_GATE = "from tests.dataloop import throughput; throughput.serve_gate()"


def photos(items: int, width: int) -> list[bytes]:
    """So many JPEGs, each photo in turn; so many pixels wide, or 0: as they are."""
    files = []
    for name in PHOTOS:
        with Image.open(photo(name)) as image:
            file = io.BytesIO()
            size = (width, width * image.height // image.width) if width else image.size
            image.convert("RGB").resize(size).save(file, "JPEG", quality=92)
            files.append(file.getvalue())
    return list(islice(cycle(files), items))


def serve_gate() -> None:
    """Serve a dataset until stdin ends."""
    gate = Gate()
    gate.start()
    for number, data in enumerate(photos(*map(int, sys.stdin.readline().split()))):
        gate.add_item(data, f"{number}.jpg")
    print(gate.url, gate.token, flush=True)
    sys.stdin.read()


async def own_rate(url: str, files: list[bytes]) -> float:
    """Images a second that `/predict` answers."""
    waiting = iter(files)
    async with aiohttp.ClientSession() as http:

        async def ask() -> None:
            for data in waiting:
                form = aiohttp.FormData()
                form.add_field("image", data, filename="a.jpg", content_type="image/jpeg")
                async with http.post(f"{url}/predict", data=form) as reply:
                    await reply.read()
                    assert reply.status == 200

        began = time.perf_counter()
        await asyncio.gather(*[ask() for _ in range(CLIENTS)])
    return len(files) / (time.perf_counter() - began)


def tool_rate(gate: Gate, url: str, mode: str) -> float:
    """Items a second that the tool says it annotated."""
    dataset = ("--dataset-id", DATASET, "--workers", str(CLIENTS), "--missing-labels", "upload")
    ended = run_tool(gate, *dataset, "--server", url, "--mode", mode)
    assert ended.code == 0, ended.err
    rate = re.search(r"\(([\d.]+) a second\)", ended.err)
    assert rate
    return float(rate[1])


def measure(gate: Gate, url: str, files: list[bytes], rounds: int) -> None:
    """Print the ratios."""
    asyncio.run(own_rate(url, files[:40]))  # warm
    ratios: dict[str, list[float]] = {"sync": [], "async": []}
    for mode in list(ratios) * rounds:
        before, tool = asyncio.run(own_rate(url, files)), tool_rate(gate, url, mode)
        own = (before + asyncio.run(own_rate(url, files))) / 2  # others use the machine, too
        ratios[mode].append(tool / own)
        print(f"{mode:5}  /predict {own:.1f}/s  dataset run {tool:.1f}/s  ratio {tool / own:.2f}")
    for mode, found in ratios.items():
        print(f"{mode:5}  median ratio {statistics.median(found):.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--width", type=int, default=0, help="pixels that photos are made wide")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--server-workers", default="1")
    parser.add_argument("--model", help="instead of the default one, such as tools/models.py:Slow")
    parser.add_argument(
        "--split", action="store_true", help="half of the CPUs for the server, half for the others"
    )
    arguments = parser.parse_args()
    cpus = sorted(os.sched_getaffinity(0))
    own, others = (
        (cpus[: len(cpus) // 2], cpus[len(cpus) // 2 :]) if arguments.split else (cpus, cpus)
    )
    os.sched_setaffinity(0, others)  # what is started from here on inherits it
    serving = subprocess.Popen(
        [sys.executable, "-c", SERVE_GATE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert serving.stdin
    assert serving.stdout
    print(arguments.items, arguments.width, file=serving.stdin, flush=True)
    gate = Gate()
    gate.url, gate.token = serving.stdout.readline().split()
    with tempfile.TemporaryDirectory() as folder:
        model = ("--model", arguments.model) if arguments.model else ()
        workers = ("--workers", arguments.server_workers)
        os.sched_setaffinity(0, own)
        server = ServerProcess(Path(folder), *workers, *model)
        os.sched_setaffinity(0, others)
        server.ready()
        try:
            measure(gate, server.url, photos(arguments.items, arguments.width), arguments.rounds)
        finally:
            server.stop()
            serving.stdin.close()
            serving.wait()


if __name__ == "__main__":
    main()
