"""The container engine of this machine: Docker, or podman with a storage of its own."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / (
    "image-model-server-tests"
)
"""Keeps podman's images between runs; whoever deletes it loses only time."""

WITHOUT_SYSTEMD: Final = """
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""


@dataclass(frozen=True)
class Engine:
    """Runs the engine's commands.

    Attributes:
        name: `docker` or `podman`.
        environment: Added to this process's.
    """

    name: str
    environment: Mapping[str, str]

    def __call__(self, *arguments: str, timeout: float = 120) -> str:
        """What a command prints; it must succeed."""
        done = self.attempt(*arguments, timeout=timeout)
        assert done.returncode == 0, f"{self.name} {' '.join(arguments)}:\n{done.stderr}"
        return done.stdout.strip()

    def attempt(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """A command's exit code and what it prints."""
        return subprocess.run(
            [self.name, *arguments],
            cwd=CACHE,  # podman leaves a note there about each container that ran out of memory
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )


def find() -> Engine:
    """The engine; skips what needs one, with the reason, where there is none that runs."""
    CACHE.mkdir(parents=True, exist_ok=True)
    docker = Engine("docker", {})
    if shutil.which("docker") and docker.attempt("info").returncode == 0:
        return docker
    if not shutil.which("podman"):
        pytest.skip("no container engine runs here: apt-get install podman runc debootstrap")
    podman = Engine("podman", _of_its_own())
    works = podman.attempt("info")
    if works.returncode:
        pytest.skip(f"podman does not run here: {works.stderr.strip()}")
    return podman


def _of_its_own() -> dict[str, str]:
    """A storage beside the user's, so that no test takes the place of an image of theirs."""
    storage = CACHE / "storage.conf"
    places = f'graphroot = "{CACHE}/storage"\nrunroot = "{CACHE}/run"'
    storage.write_text(f'[storage]\ndriver = "overlay"\n{places}\n')
    environment = {"CONTAINERS_STORAGE_CONF": str(storage)}
    if not Path("/run/systemd/system").exists():
        (CACHE / "containers.conf").write_text(WITHOUT_SYSTEMD)
        environment["CONTAINERS_CONF"] = str(CACHE / "containers.conf")
    return environment
