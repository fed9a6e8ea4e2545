"""What the manifests have to agree with, and how they are read."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from server import settings
from server.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = ROOT / "Dockerfile"
PORT = Settings.model_fields["port"].default
GRACE = Settings.model_fields["shutdown_grace"].default
MARGIN = 10
"""Seconds that the server may take to end after its grace time: replies, workers, the database."""

INSTALL = "a validator is missing: pip install -r requirements-dev.txt"
USER = 10001
DATA = "/data"


def read(path: Path) -> Any:
    """A YAML file; a key that stands twice is an error."""
    pytest.importorskip("ruamel.yaml", reason=INSTALL)
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(path)


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def accepted(
    environment: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """The settings that the server takes from such an environment; what it does not know fails."""
    keys = tmp_path / "keys"
    keys.touch()
    for name, value in environment.items():
        if name.startswith(PREFIX):
            monkeypatch.setenv(name, str(keys) if name.endswith("_FILE") else value)
    assert not settings.unknown_variables()
    return settings.load([])


def replaced(path: Path, old: str, new: str, folder: Path) -> Path:
    """A copy of a manifest with a mistake in it."""
    text = path.read_text()
    assert old in text
    copy = folder / path.name
    copy.write_text(text.replace(old, new))
    return copy
