"""The photos and bodies that are sent, the same ones to every system, and their right answers."""

import io
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageOps

from tools.bench.models import Photo
from tools.bench.upload import Upload, form, tensors

SMALL: Final = (640, 427)
LARGE: Final = (4000, 3000)
SOURCES: Final = {"cat": "chelsea.png", "coffee": "coffee.png", "rocket": "rocket.jpg"}
"""Photos of the scikit-image distribution: public domain or CC0."""

Form = Callable[[Path, str, bytes, str], Upload]


class Bodies:
    """Everything that is sent, on disk.

    Args:
        folder: Gets it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._model = Photo()
        self._model.load()
        self.files: dict[str, list[Path]] = {}
        self._labels: dict[Path, str] = {}
        for kind, size in (("small", SMALL), ("large", LARGE)):
            self.files[kind] = [self._photo(kind, name, size) for name in SOURCES]
        for kind, length in (("5 kB", 5_000), ("200 kB", 200_000)):
            self.files[kind] = [self._noise(kind, length)]

    def uploads(self, kind: str, kserve: bool) -> list[Upload]:
        """As a system takes them.

        Args:
            kind: `small` or `large` photos, `5 kB` or `200 kB`.
            kserve: As tensors; else as forms.
        """
        shape: Form = tensors if kserve else form
        return [
            shape(path.parent, path.name, path.read_bytes(), self._labels[path])
            for path in self.files[kind]
        ]

    def _photo(self, kind: str, name: str, size: tuple[int, int]) -> Path:
        folder = Path(str(distribution("scikit-image").locate_file("skimage/data")))
        with Image.open(folder / SOURCES[name]) as source:
            image = ImageOps.fit(source.convert("RGB"), size)
        if size == LARGE:
            image = _grained(image)
        file = io.BytesIO()
        image.save(file, "JPEG", quality=90)
        path = self._kept(kind, f"photo-{name}.jpg", file.getvalue())
        self._labels[path] = str(self._model.predict([image])[0]["label"])
        return path

    def _noise(self, kind: str, size: int) -> Path:
        data = np.random.default_rng(1).bytes(size)
        path = self._kept(kind, "photo-noise.jpg", data)
        self._labels[path] = f"{size} bytes"
        return path

    def _kept(self, kind: str, name: str, data: bytes) -> Path:
        path = self.folder / kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path


def _grained(image: Image.Image) -> Image.Image:
    """With the grain of a camera's sensor: what is scaled up would be too easy to decode."""
    pixels = np.asarray(image, np.int16)
    grain = np.random.default_rng(1).normal(0, 10, pixels.shape).astype(np.int16)
    return Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8))
