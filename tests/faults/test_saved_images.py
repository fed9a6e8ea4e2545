"""Saved images and power cuts: an image is on the disk before the result that says it is kept."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest

from tests import models
from tests.faults.conftest import Start
from tests.faults.disks import needed
from tests.integration.requests import finished, form, picture, submit
from tests.server_process import ServerProcess

FINE = picture(models.FINE)
LOG = "predictions.db-wal"
CALLS = "write,pwrite64,fsync,fdatasync"


@pytest.mark.parametrize("path", ["/predict", "/asyncPredict"])
async def test_an_image_and_its_names_are_synced_before_its_result_is_written(
    start: Start, tmp_path: Path, path: str
) -> None:
    server = start("--model", "tests/models.py:Obedient", "--workers", "1").ready()
    async with aiohttp.ClientSession(server.url) as http:
        with traced(server, tmp_path / "trace"):
            if path == "/asyncPredict":
                request_id = await submit(http, FINE, save_locally="true")
                assert (await finished(http, request_id))["status"] == "Success"
            else:
                async with http.post(path, data=form(FINE, save_locally="true")) as reply:
                    request_id = (await reply.json())["request_id"]
    calls = re.findall(rf"(\w+)\(\d+<{server.data_dir}/?(.*?)>", (tmp_path / "trace").read_text())

    folder = f"images/{request_id}"
    begun = calls.index(("write", f"{folder}/photo.jpg"))
    synced = [("fsync", name) for name in (f"{folder}/photo.jpg", folder, "images", "")]
    assert calls[begun + 1 : begun + 5] == synced
    assert set(calls[begun + 5 :]) == {("pwrite64", LOG), ("fdatasync", LOG)}


@contextmanager
def traced(server: ServerProcess, file: Path) -> Iterator[None]:
    """Write down the server's writes and syncs, with the names of the files."""
    command = [needed("strace"), "-f", "-y", "-e", f"trace={CALLS}", "-o", str(file)]
    tracer = subprocess.Popen(
        [*command, "-p", str(server.process.pid)], stderr=subprocess.PIPE, text=True
    )
    assert tracer.stderr
    with tracer.stderr:
        if "attached" not in (line := tracer.stderr.readline()):
            tracer.wait()
            pytest.skip(f"the server can't be traced here: {line}")
        try:
            yield
        finally:
            tracer.terminate()
            tracer.wait()
