import sys
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from server.model.loader import ModelSpecError, load_class

MODEL = """
class Model:
    def load(self): pass
    def predict(self, images): return [[] for _ in images]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, empty; what a test imports from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(name: str, text: str = MODEL) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def complaint(spec: str) -> str:
    with pytest.raises(ModelSpecError) as caught:
        load_class(spec)
    assert repr(spec) in str(caught.value)
    return str(caught.value)


def test_a_module_of_the_current_folder_is_found() -> None:
    write("zoo/__init__.py", "")
    write("zoo/cats.py")
    assert load_class("zoo.cats:Model").__module__ == "zoo.cats"


def test_a_file_is_found_and_imports_what_is_beside_it_then_and_later() -> None:
    write("deep/first_neighbour.py", "SIZE = 3")
    write("deep/second_neighbour.py", "SIZE = 4")
    write(
        "deep/cats.py",
        "from first_neighbour import SIZE\n"
        "class Model:\n"
        "    def load(self):\n"
        "        import second_neighbour\n"
        "        return SIZE + second_neighbour.SIZE\n"
        "    def predict(self, images): ...\n",
    )
    assert load_class("deep/cats.py:Model")().load() == 7


def test_a_file_hides_no_module_of_the_same_name() -> None:
    write("json.py")
    write("server.py")
    assert load_class("json.py:Model")
    assert load_class(f"{Path.cwd()}/server.py:Model")
    assert sys.modules["json"].loads("1") == 1
    assert sys.modules["server"].__version__


def test_threads_that_load_one_file_share_its_class() -> None:
    write("slow.py", "import time\ntime.sleep(0.01)\n" + MODEL)
    with ThreadPoolExecutor(4) as pool:
        classes = set(pool.map(load_class, ["slow.py:Model"] * 4))
    assert len(classes) == 1


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("cats", "is not of the form place:Class; write package.module:Class or path/to/file.py"),
        (":Model", "is not of the form place:Class"),
        ("cats:", "is not of the form place:Class"),
        ("cats.py:Mo del", "is not of the form place:Class"),
        ("dogs.py:Model", "there is no file dogs.py (seen from /"),
        ("zoo/dogs:Model", "there is no file zoo/dogs"),
        ("dogs:Model", "no module dogs; install it, or start in the folder that holds it (not /"),
        ("dogs.large:Model", "no module dogs; install it"),
        ("cats.large:Model", "no module cats.large; install it"),
        ("cats.py:Modle", "cats.py has no Modle; did you mean Model?"),
        ("cats.py:model", "did you mean Model?"),
        ("cats.py:Whale", "did you mean Model or Cat or Lazy or Async or Greedy?"),
        ("empty.py:Model", "empty.py has no Model; it defines no class"),
        ("cats.py:the_model", "the_model is a Model; name the class itself"),
        ("cats.py:Cat", "the class has no method load; add load(self)"),
        ("cats.py:Lazy", "the class has no method predict; add predict(self, images)"),
        ("cats.py:Async", "predict is async; write it as a plain def"),
        ("cats.py:Greedy", "its constructor needs arguments (missing a required argument: 'size')"),
    ],
)
def test_every_mistake_has_a_sentence(spec: str, sentence: str) -> None:
    write("empty.py", "from pathlib import Path\n")
    write(
        "cats.py",
        MODEL
        + """
the_model = Model()
class Cat: pass
class Lazy:
    def load(self): pass
class Async(Model):
    async def predict(self, images): pass
class Greedy(Model):
    def __init__(self, size): pass
""",
    )
    assert sentence in complaint(spec)


@pytest.mark.parametrize("spec", ["broken.py:Model", "broken:Model"])
def test_what_the_authors_module_raises_keeps_its_traceback(spec: str) -> None:
    write("broken.py", "def weights():\n    raise KeyError('gone')\nweights()\n")
    with pytest.raises(ModelSpecError, match="importing it raised KeyError: 'gone'") as caught:
        load_class(spec)
    assert "in weights" in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("spec", ["broken.py:Model", "broken:Model"])
def test_a_module_that_the_author_lacks_is_not_taken_for_the_models(spec: str) -> None:
    write("broken.py", "import torch_of_nobody\n")
    assert "importing it raised ModuleNotFoundError: No module named 'torch_of" in complaint(spec)


def test_a_file_that_failed_is_tried_anew() -> None:
    write("cats.py", "raise OSError")
    complaint("cats.py:Model")
    write("cats.py")
    assert load_class("cats.py:Model")
