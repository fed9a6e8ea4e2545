"""What the processes of the workers are to the machine that they run on."""

import os
import subprocess
import sys
from pathlib import Path

from tests.integration.conftest import Start
from tests.server_process import ROOT

MODEL = ("--model", "tests/models.py:Colours", "--workers", "2")


def score(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def test_out_of_memory_the_kernel_would_end_a_worker_before_the_server(start: Start) -> None:
    server = start(*MODEL).ready()
    workers = server.children()
    assert len(workers) == 2
    assert {score(pid) for pid in workers} == {score(server.process.pid) + 300}


def test_the_default_model_does_not_report_what_it_is_used_for(tmp_path: Path) -> None:
    code = "from server.model.efficientnet import *; m = EfficientNetLite0(); m.load(); m.warmup()"
    ours = {name: text for name, text in os.environ.items() if name not in {"CI", "HOME"}}
    environment = {**ours, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)
    assert list(tmp_path.rglob("*onnxruntime*")) == []  # its reporter keeps a device id
