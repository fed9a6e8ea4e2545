"""Workers whose server was killed."""

import os
import subprocess
import sys

import pytest

from tests.server_process import ROOT
from tests.unit.runner.test_workers import gone, until

LOAD_AND_WAIT = """
import threading
from tests.unit.runner.test_workers import config
from server.runner.process import ProcessWorker

worker = ProcessWorker(config(), {})

def tell() -> None:
    while not worker._process:
        pass
    print(worker._process.pid, flush=True)

threading.Thread(target=tell).start()
worker.load()
print("loaded", flush=True)
threading.Event().wait()
"""


@pytest.mark.parametrize("moment", ["loading", "loaded"])
def test_a_process_ends_with_its_killed_parent(moment: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", LOAD_AND_WAIT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | {"MODEL_DOES": "load hang" if moment == "loading" else ""},
    )
    with parent:
        assert parent.stdout
        assert parent.stderr
        try:
            pid = int(parent.stdout.readline())
            if moment == "loaded":
                assert parent.stdout.readline() == b"loaded\n"
            else:
                assert parent.stderr.readline() == b"hanging\n"  # the child's
            assert not gone(pid)
        finally:
            parent.kill()
    until(lambda: gone(pid))
