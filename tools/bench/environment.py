"""A virtual environment of one requirements file: made once, kept outside of the repository."""

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = "image-model-server-bench"
_SECONDS: Final = 900


class UnavailableError(Exception):
    """Something can't be had on this machine; the sentence says what, and why."""


@dataclass(frozen=True)
class Environment:
    """What `pip install` made of a requirements file.

    Attributes:
        folder: Of the virtual environment.
    """

    folder: Path

    @property
    def programs(self) -> Path:
        """The folder of its programs."""
        return self.folder / "bin"

    @property
    def mib(self) -> float:
        """What it takes on the disk."""
        files = (path.lstat().st_size for path in self.folder.rglob("*") if not path.is_dir())
        return sum(files) / 2**20


def environment(name: str, requirements: Path) -> Environment:
    """The environment of the requirements, which is made if it isn't there yet.

    Args:
        name: What it is for.
        requirements: The file; another text of it makes another environment.

    Raises:
        UnavailableError: It can't be installed here.
    """
    key = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    made = Environment(cache / FOLDER / f"{name}-{key}")
    complete = made.folder / "complete"
    if complete.exists():
        return made
    shutil.rmtree(made.folder, ignore_errors=True)
    _run(f"{name}: making its virtual environment", sys.executable, "-m", "venv", made.folder)
    pip = (made.programs / "python", "-m", "pip", "--disable-pip-version-check", "install", "-q")
    _run(f"{name}: installing {requirements.parent.name}", *pip, "-r", requirements)
    complete.touch()
    return made


def _run(what: str, *command: str | Path) -> None:
    print(f"{what} ...", flush=True)
    try:
        done = subprocess.run(  # noqa: S603 - pip of an environment of our own
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"{what}: it took over {_SECONDS} s") from None
    if done.returncode:
        last = [line for line in done.stderr.splitlines() if "ERROR" in line] or ["no reason told"]
        raise UnavailableError(f"{what}: {last[-1]}")
