"""The systemd unit: valid, hardened, and of one mind with the server's settings."""

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from tests.deploy.manifests import DEPLOY, GRACE, MARGIN, accepted, replaced, run

UNIT = DEPLOY / "image-model-server.service"
PYTHON = "/opt/image-model-server/.venv/bin/python"
EXPOSURE = 15
"""Tenths; systemd calls up to 3.9 "OK"."""

analyze = pytest.mark.skipif(
    not shutil.which("systemd-analyze"),
    reason="there is no systemd-analyze: apt-get install systemd",
)


def settings(name: str) -> list[str]:
    """The values of a setting of the unit."""
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


@analyze
def test_systemd_takes_the_unit_without_a_word(tmp_path: Path) -> None:
    checked = run("systemd-analyze", "verify", replaced(UNIT, PYTHON, sys.executable, tmp_path))
    assert (checked.returncode, checked.stderr) == (0, "")


@analyze
def test_a_setting_that_systemd_does_not_know_is_told(tmp_path: Path) -> None:
    broken = replaced(UNIT, PYTHON, sys.executable, tmp_path)
    checked = run("systemd-analyze", "verify", replaced(broken, "PrivateTmp", "OwnTmp", tmp_path))
    assert "Unknown key" in checked.stderr


@analyze
def test_the_unit_is_as_closed_as_it_was() -> None:
    options = ["--offline=true", "--no-pager", f"--threshold={EXPOSURE}"]
    checked = run("systemd-analyze", "security", *options, UNIT)
    assert checked.returncode == 0, checked.stdout[-200:]


def test_the_server_takes_its_variables_and_finds_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (variables,) = settings("Environment")
    told = dict(pair.split("=", 1) for pair in shlex.split(variables))
    taken = accepted(told, tmp_path, monkeypatch)
    assert str(taken.data_dir) == f"%S/{settings('StateDirectory')[0]}"
    (credential,) = settings("LoadCredential")
    assert told["SERVER_API_KEY_FILE"] == f"%d/{credential.split(':')[0]}"


def test_a_stop_takes_no_longer_than_systemd_waits() -> None:
    assert int(settings("TimeoutStopSec")[0]) >= GRACE + MARGIN


def test_a_lost_worker_or_a_wrong_setting_is_no_reason_to_start_anew() -> None:
    assert settings("OOMPolicy") == ["continue"]
    assert settings("RestartPreventExitStatus") == ["2"]
