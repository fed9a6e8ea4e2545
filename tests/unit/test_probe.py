"""The probe: where it looks, and what it ends with."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from server import probe, settings

ARGUMENTS: tuple[list[str], ...] = (
    [],
    ["--port=81"],
    ["--port", "81"],
    ["--port", "81", "--port=82", "--workers", "1"],
    ["--host=127.0.0.2", "--tls-cert", __file__],
    ["--host", "::"],
)
VARIABLES: tuple[dict[str, str], ...] = (
    {},
    {"PORT": "90"},
    {"SERVER_PORT": "91"},
    {"PORT": "90", "SERVER_PORT": "91", "SERVER_HOST": "127.0.0.3"},
    {"SERVER_TLS_CERT": __file__},
)


@pytest.fixture(autouse=True)
def no_variables_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith(settings.PREFIX) or name == "PORT":
            monkeypatch.delenv(name)


@pytest.mark.parametrize("arguments", ARGUMENTS)
@pytest.mark.parametrize("variables", VARIABLES)
def test_it_looks_where_the_server_with_the_same_flags_and_variables_listens(
    arguments: list[str], variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    chosen = settings.load(arguments)
    host, port, encrypted = probe.address(arguments)
    assert probe.HERE.get(chosen.host, chosen.host) == host
    assert (chosen.port, bool(chosen.tls_cert)) == (port, encrypted)


@pytest.mark.parametrize(
    ("line", "flags"),
    [
        ("python\0-m\0server\0--port\x0081\0", ["--port", "81", ""]),
        ("dumb-init\0--\0python\0-m\0server\0", [""]),
        ("/sbin/init\0", [""]),
    ],
)
def test_it_knows_the_flags_of_the_server_that_is_process_1(
    tmp_path: Path, line: str, flags: list[str]
) -> None:
    (tmp_path / "cmdline").write_text(line)
    assert probe.flags(tmp_path / "cmdline") == flags
    assert probe.flags(tmp_path / "missing") == []


def test_it_imports_next_to_nothing() -> None:
    code = "import sys, server.probe; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"argparse", "asyncio", "ssl", "aiohttp", "pydantic"} & {*ran.stdout.split()}
