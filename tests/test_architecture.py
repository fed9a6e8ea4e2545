import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from itertools import chain
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
MAX_FUNCTION: Final = 40
MAX_FILE: Final = 330  # about 300

# Each room, and the rooms that it may import. Imports point down: to rooms further down here.
ROOMS: Final[dict[str, set[str]]] = {
    "__main__": {"serve", "transfer", "settings", "model", "logs"},
    "transfer": {"settings", "backup", "remote", "store", "errors"},
    "serve": {"app", "banner", "settings", "web", "runner", "store", "health", "errors"},
    "banner": {"settings"},
    "app": {
        *("settings", "web", "predictions", "retention", "idempotency", "inference"),
        *("batcher", "runner", "model", "backup", "store", "remote", "supervisor", "health"),
        "cgroup",
    },
    "settings": {"backup", "retention", "batcher", "model", "remote", "logs", "cgroup"},
    "web": {
        *("predictions", "backup", "inference", "runner", "model", "store"),
        *("prediction", "health", "errors"),
    },
    "predictions": {
        *("backlog", "idempotency", "inference", "store", "waiters", "rate"),
        *("prediction", "errors"),
    },
    "retention": {"store", "prediction", "errors"},
    "idempotency": {"store", "prediction", "errors"},
    "inference": {"batcher", "model", "store", "prediction", "errors"},
    "backlog": {"store"},
    "batcher": {"errors"},
    "runner": {"model", "logs", "errors"},
    "model": {"errors"},
    "backup": {"store", "remote", "errors"},
    "store": {"prediction", "errors"},
    "remote": set(),
    "supervisor": set(),
    "cgroup": set(),
    "probe": set(),
    "prediction": set(),
    "waiters": set(),
    "rate": set(),
    "health": {"errors"},
    "logs": set(),
    "errors": set(),
}

# Each library that only some rooms may know.
LIBRARIES: Final[dict[str, set[str]]] = {
    "aiohttp": {"__main__", "serve", "app", "web"},
    "multipart": {"web"},
    "apsw": {"store"},
    "aiobotocore": {"remote"},
    "botocore": {"remote"},
    "zstandard": {"backup"},
    "sqlite3": set(),  # apsw brings a newer SQLite
    "pydantic_settings": {"settings"},
    "uvloop": {"__main__"},
    "PIL": {"model"},
    "numpy": {"model"},
    "onnxruntime": {"model"},
}


def sources(*folders: str) -> list[Path]:
    return sorted(chain.from_iterable((ROOT / folder).rglob("*.py") for folder in folders))


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), path)


MODULES: Final = {module_name(path): parse(path) for path in sources("server")}


def imports(tree: ast.Module) -> Iterator[str]:
    """The modules that a module imports; of `from a import b`, that is a.b if there is one."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module, names, level):
                assert level == 0, f"line {node.lineno}: imports name their whole path"
                for alias in names:
                    name = f"{module}.{alias.name}"
                    yield name if name in MODULES else str(module)


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else module


each_module = pytest.mark.parametrize("module", MODULES)


@each_module
def test_a_module_imports_only_the_rooms_that_its_own_may_know(module: str) -> None:
    if module == "server":
        return
    known = ROOMS[room(module)] | {room(module), "server"}
    ours = {room(name) for name in imports(MODULES[module]) if name.split(".")[0] == "server"}
    assert ours <= known


@each_module
def test_a_module_imports_only_the_libraries_that_its_room_may_know(module: str) -> None:
    libraries = {name.split(".")[0] for name in imports(MODULES[module])}
    forbidden = {name for name, rooms in LIBRARIES.items() if room(module) not in rooms}
    assert not libraries & forbidden


def test_the_table_names_every_room_and_points_down() -> None:
    assert set(ROOMS) == {room(module) for module in MODULES} - {"server"}
    order = list(ROOMS)
    for number, (name, known) in enumerate(ROOMS.items()):
        assert known <= set(order[number + 1 :]), name


def test_the_table_allows_nothing_that_no_one_uses() -> None:
    used: dict[str, set[str]] = {name: set() for name in ROOMS}
    for module, tree in MODULES.items():
        used.setdefault(room(module), set()).update(map(room, imports(tree)))
    assert {name: known - used[name] for name, known in ROOMS.items() if known - used[name]} == {}


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: {*imports(tree)} & set(MODULES) for name, tree in MODULES.items()}
    assert set(TopologicalSorter(graph).static_order()) == set(MODULES)


@pytest.mark.parametrize("path", sources("tools"), ids=relative)
def test_a_tool_knows_the_server_by_http_only(path: Path) -> None:
    assert "server" not in {name.split(".")[0] for name in imports(parse(path))}


@pytest.mark.parametrize("path", sources("server", "tools", "tests"), ids=relative)
def test_a_file_and_its_functions_are_short(path: Path) -> None:
    assert len(path.read_bytes().splitlines()) <= MAX_FILE
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= MAX_FUNCTION, node.name


@pytest.mark.parametrize("path", sources("server", "tools"), ids=relative)
def test_a_modules_first_line_says_what_it_owns(path: Path) -> None:
    first, *_ = (ast.get_docstring(parse(path)) or "").splitlines() or [""]
    assert len(first.split()) >= 3
    assert first[-1] in ".:"
