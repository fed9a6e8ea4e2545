"""Calls that schemathesis makes up of the contract, sent to real servers, without and with keys.

python -m tests.contract.run [options of schemathesis, such as --max-examples 1000 --seed 7]

Ends with exit code 1 when an answer is not what the contract says.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.server_process import ROOT, ready_server

KEY = "contract-0123456789abcdef"
CONFIG = Path(__file__).with_name("schemathesis.toml")
SERVER = (
    *("--model", "tests/models.py:Obedient", "--runner", "thread", "--workers", "1"),
    *("--min-free-disk", "0"),  # what the machine has left is not the subject
)
USUAL = ("--max-examples", "300")


def run(folder: Path, *options: str, guarded: bool) -> subprocess.CompletedProcess[str]:
    """Send made-up calls to a server in that folder, with or without API keys."""
    settings: list[str] = []
    headers: list[str] = []
    if guarded:
        file = folder / "keys"
        file.write_text(f"contract admin {KEY}\n")
        file.chmod(0o600)
        settings = ["--api-key-file", str(file)]
        headers = ["--header", f"Authorization: Bearer {KEY}"]
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"]
    with ready_server(folder / "data", *SERVER, *settings) as server:
        return subprocess.run(
            [*command, f"{server.url}/openapi.json", "--no-color", *headers, *options],
            cwd=ROOT,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def main() -> None:
    """Run, print what became of it, end."""
    options = tuple(sys.argv[1:]) or USUAL
    failed = False
    for guarded in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            done = run(Path(folder), *options, guarded=guarded)
        print(done.stdout)  # noqa: T201 - what it is for
        failed |= bool(done.returncode)
    sys.exit(failed)


if __name__ == "__main__":
    main()
