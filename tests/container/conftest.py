"""The engine, the image under test, and containers that are gone after their test."""

import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.container import engine as engines
from tests.container import pip_settings, stand_in
from tests.container.containers import IMAGE, PORT, Container, volume
from tests.container.engine import Engine
from tests.s3_server import bucket, s3
from tests.server_process import ROOT

__all__ = ["bucket", "s3"]

Start = Callable[..., Container]
BASE: Final = re.search(r"^ARG BASE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
BUILD_SECONDS: Final = 600


def make(
    target: str, engine: Engine, build_args: list[str], *more: str
) -> subprocess.CompletedProcess[str]:
    """What the Makefile does with this engine."""
    command = ["make", "--no-print-directory", target, f"ENGINE={engine.name}"]
    return subprocess.run(
        [*command, f"BUILD_ARGS={' '.join(build_args)}", *more],
        cwd=ROOT,
        env=os.environ | engine.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_SECONDS,
    )


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    engine = engines.find()
    yield engine
    if engine.name == "podman":  # its storage is the tests' own; Docker's is not
        engine.attempt("image", "prune", "--force", "--filter=until=168h")


@pytest.fixture(scope="session")
def base(engine: Engine) -> str:
    """The base of the Dockerfile, or its stand-in where no registry has it."""
    assert BASE
    pulled = engine.attempt("pull", BASE[1], timeout=300).returncode == 0
    return BASE[1] if pulled else stand_in.import_into(engine)


@pytest.fixture(scope="session")
def build_args(engine: Engine, base: str) -> Iterator[list[str]]:
    """What a build needs on this machine, beside what any needs."""
    with tempfile.TemporaryDirectory() as folder:
        options = [f"--build-arg=BASE={base}"]
        if engine.name == "podman":
            options += ["--isolation=chroot", "--network=host", *pip_settings.mounts(Path(folder))]
        yield options


@pytest.fixture(scope="session")
def image(engine: Engine, build_args: list[str]) -> str:
    """The image, built from the very Dockerfile by the Makefile."""
    built = make("docker-build", engine, build_args)
    assert built.returncode == 0, built.stdout[-3000:] + built.stderr[-3000:]
    return IMAGE


@pytest.fixture
def data(engine: Engine) -> Iterator[str]:
    with volume(engine) as option:
        yield option


@pytest.fixture
def start(engine: Engine, image: str, data: str) -> Iterator[Start]:
    """Starts containers on this test's volume, if they are told no other."""
    assert image
    started: list[Container] = []

    def start_one(*options: str, arguments: tuple[str, ...] = (), **more: str) -> Container:
        volumes = () if any(option.endswith(":/data") for option in options) else (data,)
        options = (*volumes, f"--env=PORT={PORT}", *options)
        started.append(Container(engine, *options, arguments=arguments, **more))
        return started[-1]

    yield start_one
    for container in started:
        container.remove()


@pytest.fixture(scope="module")
def server(engine: Engine, image: str) -> Iterator[Container]:
    """A container that is ready, shared by the tests of a file."""
    assert image
    with volume(engine) as option:
        container = Container(engine, option, f"--env=PORT={PORT}")
        yield container.ready()
        container.remove()
