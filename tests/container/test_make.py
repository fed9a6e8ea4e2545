"""The Makefile's targets for containers: what they do, and what they say where they can't."""

import socket
import subprocess

import pytest
import requests

from tests.container.conftest import make
from tests.container.containers import CAT
from tests.container.engine import Engine
from tests.server_process import ROOT

NAME = "NAME=image-model-server-test"


@pytest.mark.parametrize(
    ("target", "given", "sentence"),
    [
        ("docker", "ENGINE=", "No container engine here: install Docker, or podman"),
        ("docker-build", "ENGINE=", "No container engine here: install Docker, or podman"),
        ("docker", "ENGINE=buildah", "runs none: install podman or Docker"),
        ("docker-stop", "ENGINE=buildah", "runs none: install podman or Docker"),
        ("docker-push", "REPO=", "Say where to: make docker-push REPO=registry.example"),
    ],
)
def test_what_is_missing_is_told_in_one_sentence(target: str, given: str, sentence: str) -> None:
    command = ["make", "--no-print-directory", target, given]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode != 0
    assert sentence in done.stdout
    assert len(done.stdout.splitlines()) == 1


def test_make_docker_serves_where_it_says_and_docker_stop_ends_it(
    engine: Engine, build_args: list[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    try:
        for _ in range(2):  # the second time in place of the first
            made = make("docker", engine, build_args, NAME, f"PUBLISH={port}", "ARGS=--workers=1")
            assert made.returncode == 0, made.stderr
        *_, serving, attempt, _, _ = made.stdout.splitlines()
        assert f"http://localhost:{port}/ " in serving
        url = attempt.split()[-1]
        assert "image=@examples/cat.jpg" in attempt
        assert _label(url) == "Egyptian cat"
        stopped = make("docker-stop", engine, build_args, NAME)
        assert stopped.stdout == "image-model-server-test is stopped\n"
    finally:
        engine.attempt("rm", "--force", "image-model-server-test")
        engine.attempt("volume", "rm", "--force", "image-model-server-test-data")


def _label(url: str) -> str:
    """What the cat's photo shows, once the server there is ready to say so."""
    session = requests.Session()
    retries = requests.adapters.Retry(
        20, backoff_factor=0.1, status_forcelist=[503], allowed_methods=None
    )
    session.mount("http://", requests.adapters.HTTPAdapter(max_retries=retries))
    with session:
        return str(session.post(url, files={"image": CAT}, timeout=60).json()["response"]["label"])
