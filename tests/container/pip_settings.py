"""This machine's way to PyPI, for builds: its proxy, its indexes, the certificates it trusts."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import Final

CERTIFICATES: Final = "/run/host-certificates.crt"
TAKEN: Final = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout")


def mounts(folder: Path) -> list[str]:
    """Options of `podman build` that show pip what this machine's own pip is told; often none.

    Args:
        folder: Gets a file that must stay until the build is done.
    """
    told = _told()
    lines = [f"{name} = {value}" for name in TAKEN if (value := _elsewhere(told.get(name, "")))]
    options = []
    if certificates := told.get("cert"):
        lines.append(f"cert = {CERTIFICATES}")
        options.append(f"--volume={certificates}:{CERTIFICATES}:ro")
    if not lines:
        return []
    (folder / "pip.conf").write_text("\n".join(["[global]", *lines, ""]))
    return [*options, f"--volume={folder}/pip.conf:/etc/pip.conf:ro"]


def _told() -> dict[str, str]:
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    pairs = (line.partition("=") for line in listed.splitlines())
    return {key.rpartition(".")[2]: ast.literal_eval(value) for key, _, value in pairs}


def _elsewhere(value: str) -> str:
    """Without the addresses that are folders of this machine."""
    return " ".join(part for part in value.split() if not part.startswith("file:"))
