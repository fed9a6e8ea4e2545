"""From a model's spec, as its user writes it, to its class."""

import inspect
import sys
import threading
from difflib import get_close_matches
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final

_FORMS: Final = "write package.module:Class or path/to/file.py:Class"
_METHODS: Final = ("load", "predict")
_one_at_a_time = threading.Lock()  # several workers of one process load the same file


class ModelSpecError(ValueError):
    """A spec leads to no class that can be served; the sentence names it and what to do."""


def load_class(spec: str) -> type:
    """Imports a model's class.

    The current folder, or the folder of the file, becomes the first one that Python imports from,
    as when Python runs a script: so the model finds the modules beside it, then and later.

    Args:
        spec: `package.module:Class` or `path/to/file.py:Class`.

    Raises:
        ModelSpecError: There is no such class or it is no model; where the author's own code
            raised, that exception is the cause.
    """
    where, colon, name = spec.rpartition(":")
    if not colon or not where or not name.isidentifier():
        raise ModelSpecError(f"model {spec!r} is not of the form place:Class; {_FORMS}")
    module = _from_file(spec, Path(where)) if _is_path(where) else _from_name(spec, where)
    found = getattr(module, name, None)
    if found is None:
        raise ModelSpecError(f"model {spec!r}: {where} has no {name}; {_advice(module, name)}")
    if not inspect.isclass(found):
        kind = type(found).__name__
        raise ModelSpecError(f"model {spec!r}: {name} is a {kind}; name the class itself")
    _check_methods(spec, found)
    return found


def _is_path(where: str) -> bool:
    return where.endswith(".py") or "/" in where or "\\" in where


def _from_file(spec: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise ModelSpecError(f"model {spec!r}: there is no file {path} (seen from {Path.cwd()})")
    file = path.resolve()
    name = f"model_file_{file.stem}"  # a name of its own: model.py or server.py hide no package
    with _one_at_a_time:
        loaded = sys.modules.get(name)
        if loaded and loaded.__file__ == str(file):
            return loaded
        return _execute(spec, file, name)


def _execute(spec: str, file: Path, name: str) -> ModuleType:
    found = spec_from_file_location(name, file)
    if not found or not found.loader:
        raise ModelSpecError(f"model {spec!r}: {file.name} is no Python file; {_FORMS}")
    _import_from(file.parent)
    module = module_from_spec(found)
    sys.modules[name] = module  # dataclasses and pickle look their module up
    try:
        found.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise _raised(spec, error) from error
    return module


def _from_name(spec: str, name: str) -> ModuleType:
    _import_from(Path.cwd())
    try:
        return import_module(name)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{name}.".startswith(f"{missing}."):
            advice = f"install it, or start in the folder that holds it (not {Path.cwd()})"
            raise ModelSpecError(f"model {spec!r}: no module {missing}; {advice}") from None
        raise _raised(spec, error) from error


def _import_from(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _raised(spec: str, error: Exception) -> ModelSpecError:
    return ModelSpecError(f"model {spec!r}: importing it raised {type(error).__name__}: {error}")


def _advice(module: ModuleType, name: str) -> str:
    classes = [
        key
        for key, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__
    ]
    close = get_close_matches(name, classes, n=3, cutoff=0.5) or classes[:10]
    return f"did you mean {' or '.join(close)}?" if close else "it defines no class"


def _check_methods(spec: str, found: type) -> None:
    for name in _METHODS:
        method = getattr(found, name, None)
        if not callable(method):
            what = "load(self)" if name == "load" else "predict(self, images)"
            raise ModelSpecError(f"model {spec!r}: the class has no method {name}; add {what}")
        if inspect.iscoroutinefunction(method):
            raise ModelSpecError(f"model {spec!r}: {name} is async; write it as a plain def")
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise ModelSpecError(
            f"model {spec!r}: its constructor needs arguments ({error}); give them defaults"
        ) from None
    except ValueError:  # a class written in C has no signature to look at
        pass
