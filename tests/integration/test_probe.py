"""The probe against real servers."""

import subprocess
import sys
from pathlib import Path

from tests.certificates import self_signed
from tests.integration.conftest import Start
from tests.server_process import ServerProcess

MODEL = ("--model", "tests/models.py:Colours", "--workers", "1")
WAITS = """
import os, pathlib, time

class Waits:
    def load(self):
        while not pathlib.Path(os.environ["GO"]).exists():
            time.sleep(0.005)

    def predict(self, images):
        return [{"label": "any", "confidence": 1} for _ in images]
"""


def ask(server: ServerProcess, *more: str) -> tuple[int, str]:
    """The probe's exit code and what it prints."""
    host, port = server.wait_for_line(r"address\s+https?://([\w.]+):(\d+)").groups()
    command = [sys.executable, "-m", "server.probe", "--host", host, "--port", port, *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout


def test_it_ends_with_1_and_the_reason_until_the_server_is_ready_and_once_it_is_gone(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "waits.py").write_text(WAITS)
    server = start("--model", f"{tmp_path}/waits.py:Waits", "--workers=1", GO=f"{tmp_path}/go")
    code, said = ask(server)
    assert code == 1
    assert "being loaded" in said

    (tmp_path / "go").touch()
    server.ready()
    assert ask(server) == (0, '{"status":"Ready"}\n')

    server.stop()
    code, said = ask(server)
    assert code == 1
    assert "Connection refused" in said


def test_it_asks_through_tls(start: Start, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    server = start(*MODEL, "--tls-cert", str(certificate), "--tls-key", str(key)).ready()
    assert ask(server, "--tls-cert", str(certificate))[0] == 0
    assert ask(server)[0] == 1  # in plain text
