"""The gate, servers and the tool for the tests."""

import atexit
import io
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from tests.dataloop.gate import Gate
from tests.server_process import ROOT, ServerProcess

# before anything imports dtlpy, which writes there
HOME = tempfile.mkdtemp(prefix="dataloop-tests-")
os.environ["DATALOOP_PATH"] = HOME
atexit.register(shutil.rmtree, HOME, ignore_errors=True)

MODELS = Path(__file__).parent / "models.py"
COMMAND = [sys.executable, str(ROOT / "tools" / "dataloop_test.py")]


@dataclass(frozen=True)
class Ended:
    """What a run of the tool came to."""

    code: int
    out: str
    err: str


Tool = Callable[..., Ended]
Serve = Callable[..., ServerProcess]


@pytest.fixture(scope="session")
def serving_gate() -> Gate:
    gate = Gate()
    gate.start()
    return gate


@pytest.fixture
def gate(serving_gate: Gate) -> Gate:
    """The gate, empty."""
    serving_gate.reset()
    return serving_gate


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Starts a server with a model, once for all tests; by default the real one."""
    servers: dict[tuple[str, ...], ServerProcess] = {}

    def serve_model(model: str, *more: str) -> ServerProcess:
        arguments = ("--model", f"{MODELS}:{model}", *more) if model else more
        if arguments not in servers:
            folder = tmp_path_factory.mktemp("server")
            servers[arguments] = ServerProcess(folder, "--workers", "1", *arguments).ready()
        return servers[arguments]

    yield serve_model
    for server in servers.values():
        assert server.stop() == 0, server.log


@pytest.fixture
def tool(gate: Gate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tool:
    """Runs the tool in this process: dtlpy takes seconds to import."""
    from tools.dataloop.arguments import parse
    from tools.dataloop.errors import ToolError
    from tools.dataloop.tool import annotate

    def run(*arguments: str, key: str | None = None) -> Ended:
        monkeypatch.setenv("DTLPY_API_KEY", key or gate.token)
        try:
            code = annotate(parse(["--gate-url", gate.url, *arguments]))
            said = ""
        except ToolError as error:
            code, said = error.exit_code, f"dataloop_test.py: {error}\n"
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err + said)

    return run


def start_tool(gate: Gate, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    """The tool as a user starts it."""
    command = [*COMMAND, "--gate-url", gate.url, *arguments]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        # one that is killed leaves its private folder there
        env=os.environ | {"DTLPY_API_KEY": gate.token, "TMPDIR": HOME} | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_tool(gate: Gate, *arguments: str, **environment: str) -> Ended:
    """The tool as a user starts it, until its end."""
    process = start_tool(gate, *arguments, **environment)
    out, err = process.communicate(timeout=60)
    return Ended(process.returncode, out, err)


def go_on(gate: Gate, ended: Ended) -> Ended:
    """Run the command line with which a stopped run says to go on."""
    (line,) = [each for each in ended.err.splitlines() if "To go on: " in each]
    words = shlex.split(line.partition("To go on: ")[2])
    return run_tool(gate, *words[words.index(next(w for w in words if w.startswith("-"))) :])


def picture(width: int = 64, height: int = 48, format_: str = "PNG") -> bytes:
    """A dark image with a white rectangle of 10 x 6 pixels, its left top at 20, 12."""
    image = Image.new("RGB", (width, height), "black")
    image.paste("white", (20, 12, 30, 18))
    file = io.BytesIO()
    image.save(file, format_)
    return file.getvalue()
