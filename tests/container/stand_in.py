"""A stand-in for the base image, where no registry answers: Debian, and this machine's CPython.

It has what Python's slim image has: a minimal Debian, CPython and pip under `/usr/local`, and, like
it, no bytecode of the standard library.
"""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import pytest

from tests.container.engine import Engine

NAME: Final = "localhost/stand-in-python"
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
VERSIONS: Final = ("3.12", "3.13", "3.11")
NOT_COPIED: Final = ("test", "site-packages", "__pycache__", "config-*", "idlelib", "*.a")


def import_into(engine: Engine) -> str:
    """The stand-in's name, once the engine has it; it is made only once."""
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        pytest.skip("no registry answers, and a stand-in for the base needs root and debootstrap")
    python, version = _python()
    suite, mirror = _debian()
    name = f"{NAME}:{version}-{suite}"
    if engine.attempt("image", "inspect", name).returncode:
        with tempfile.TemporaryDirectory() as folder:
            archive = _make(Path(folder), python, version, suite, mirror)
            engine("import", f"--change=ENV PATH={PATH}", str(archive), name)
    return name


def _python() -> tuple[Path, str]:
    """The prefix of a CPython that can be moved elsewhere, and its version."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser()
    for version in VERSIONS:
        for prefix in (Path("/usr/local"), *sorted(pyenv.glob(f"versions/{version}.*"))):
            if (prefix / f"bin/python{version}").exists():
                return prefix, version
    pytest.skip("a stand-in for the base needs a CPython in pyenv or /usr/local")


def _debian() -> tuple[str, str]:
    """This machine's release, whose libraries its CPython needs, and where apt takes it from."""
    about = Path("/etc/os-release").read_text()
    release = re.search(r"^VERSION_CODENAME=(\w+)", about, re.MULTILINE)
    shown = ["apt-get", "indextargets", "--format", "$(RELEASE) $(SITE)", "Created-By: Packages"]
    listed = subprocess.run(shown, capture_output=True, text=True, check=True).stdout.split()
    sites = dict(zip(listed[::2], listed[1::2], strict=True))
    if not release or release[1] not in sites:
        pytest.skip("a stand-in for the base needs a Debian whose apt knows its own release")
    return release[1], sites[release[1]]


def _make(folder: Path, python: Path, version: str, suite: str, mirror: str) -> Path:
    """The archive of the stand-in's files, in this folder."""
    root, archive = folder / "root", folder / "root.tar"
    _run("debootstrap", "--variant=minbase", "--include=ca-certificates", suite, root, mirror)
    _copy_python(python, version, root)
    _run("chroot", root, "ldconfig")
    _run("chroot", root, f"python{version}", "-B", "-m", "ensurepip", "--altinstall")
    for name in ("python", "python3"):
        (root / "usr/local/bin" / name).symlink_to(f"python{version}")
    (root / "usr/local/bin/pip").symlink_to(f"pip{version}")
    shutil.rmtree(root / "var/cache/apt/archives")
    _run("tar", "--create", "--file", archive, "--directory", root, ".")
    return archive


def _copy_python(python: Path, version: str, root: Path) -> None:
    """The interpreter, its library, and the libraries of the system that they ask for."""
    to = root / "usr/local"
    shutil.copy2(python / f"bin/python{version}", to / "bin")
    shutil.copytree(
        python / f"lib/python{version}",
        to / f"lib/python{version}",
        ignore=shutil.ignore_patterns(*NOT_COPIED),
        symlinks=True,
    )
    for library in python.glob("lib/libpython3*.so*"):
        shutil.copy2(library, to / "lib", follow_symlinks=False)
    modules = python.glob(f"lib/python{version}/lib-dynload/*.so")
    asked = _run("ldd", python / f"bin/python{version}", *modules)
    for name, path in set(re.findall(r"(\S+) => (/\S+)", asked)):
        places = (root / path[1:], root / f"usr{path}", to / "lib" / name)
        if not any(place.exists() for place in places):
            shutil.copy2(path, to / "lib" / name)


def _run(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
