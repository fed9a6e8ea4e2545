"""The model room: what a model's author imports, and all the server does around one model."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.model.interface import Box, Classification, Mask, Model, Point, Polygon

__all__ = ["Box", "Classification", "Mask", "Model", "Point", "Polygon"]


def __getattr__(name: str) -> object:  # so that importing any module here stays cheap
    if name in __all__:
        return getattr(import_module("server.model.interface"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
