"""The model room: what a model's author imports, and all the server does around one model."""

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.model.interface import Box, Classification, Mask, Model, Point, Polygon

__all__ = ["Box", "Classification", "Mask", "Model", "Point", "Polygon"]


# onnxruntime reports to its maker what it is used for, unless told not to before its import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> object:  # so that importing any module here stays cheap
    if name in __all__:
        return getattr(import_module("server.model.interface"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
