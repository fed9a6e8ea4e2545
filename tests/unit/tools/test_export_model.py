import io
import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import pytest

from tools import export_model
from tools.export_model import ExportError

TOOL = Path(export_model.__file__)


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    export_model.export(path)
    return path


@pytest.fixture(scope="module")
def labels() -> list[str]:
    return export_model.load_labels(export_model.package_folder(export_model.LABELS_PACKAGE))


def test_the_command_writes_the_model_and_nothing_else(tmp_path: Path) -> None:
    output = tmp_path / "new" / "model.onnx"
    result = run(TOOL, output)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"{output} is written (18.6 MB).\n"
    assert list(output.parent.iterdir()) == [output]


def test_a_second_run_writes_nothing_and_imports_no_onnx(exported: Path) -> None:
    before = exported.stat()
    program = (
        "import runpy, sys; sys.argv = sys.argv[1:];"
        "runpy.run_path(sys.argv[0], run_name='__main__'); print('onnx' in sys.modules)"
    )
    result = run("-c", program, TOOL, exported)
    assert result.stdout == f"{exported} is current.\nFalse\n"
    assert (exported.stat().st_ino, exported.stat().st_mtime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
    )


@pytest.mark.parametrize("position", [1000, 10_000_000, -1])
def test_a_model_with_a_changed_byte_is_not_current(
    exported: Path, tmp_path: Path, position: int
) -> None:
    data = bytearray(exported.read_bytes())
    data[position] ^= 1
    output = tmp_path / "model.onnx"
    output.write_bytes(data)
    assert not export_model.is_current(output)


@pytest.mark.parametrize("size", [0, 10, 9_000_000])
def test_a_model_cut_short_is_not_current(exported: Path, tmp_path: Path, size: int) -> None:
    output = tmp_path / "model.onnx"
    output.write_bytes(exported.read_bytes()[:size])
    assert not export_model.is_current(output)


def test_a_model_of_another_version_of_the_tool_is_written_again(
    exported: Path, tmp_path: Path
) -> None:
    output = tmp_path / "model.onnx"
    output.write_bytes(exported.read_bytes())
    changed = tmp_path / "export_model.py"
    changed.write_text(TOOL.read_text("utf-8") + "\n# changed\n", "utf-8")
    assert run(changed, output).stdout == f"{output} is written (18.6 MB).\n"


def test_two_exports_are_the_same_to_the_byte(exported: Path, tmp_path: Path) -> None:
    export_model.export(tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == exported.read_bytes()


def test_weights_with_another_digest_are_refused(tmp_path: Path) -> None:
    package = export_model.package_folder(export_model.WEIGHTS_PACKAGE)
    data = bytearray((package / export_model.WEIGHTS_FILE).read_bytes())
    data[-1] ^= 1
    path = tmp_path / "weights.pth"
    path.write_bytes(data)
    with pytest.raises(ExportError, match=r"not the published weights file: its sha256 is \w{64}"):
        export_model.load_weights(path)


class Command:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("echo run",)


@pytest.mark.parametrize("pickles_before", [0, 3, 4])
def test_a_pickle_that_names_a_foreign_function_is_refused_and_not_run(
    pickles_before: int, capfd: pytest.CaptureFixture[str]
) -> None:
    harmless = pickle.dumps(OrderedDict())
    file = io.BytesIO(harmless * pickles_before + pickle.dumps(Command()))
    with pytest.raises(ExportError, match=r"asks for (posix|nt)\.system: it holds more than"):
        export_model.read_weights(file)
    assert capfd.readouterr().out == ""


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(ExportError, match="no_such_package is not installed: run `pip install"):
        export_model.package_folder("no_such_package")


def test_a_label_is_the_name_that_people_use(labels: list[str]) -> None:
    assert [labels[index] for index in (0, 207, 285, 296, 437, 999)] == [
        "tench",
        "golden retriever",
        "Egyptian cat",
        "polar bear",
        "lighthouse",
        "toilet paper",
    ]


def test_classes_that_share_a_name_in_wordnet_are_told_apart(labels: list[str]) -> None:
    assert [labels[index] for index in (134, 517)] == ["crane (bird)", "construction crane"]
    assert [labels[index] for index in (638, 639)] == ["leotard", "one-piece swimsuit"]
    assert len({label.casefold() for label in labels}) == 1000
