"""What a peer's server does with uploads: decode as its users would, predict, name the answer."""

import io
import os
from collections.abc import Sequence
from typing import Any, Final

from PIL import Image, ImageOps

from tools.bench.models import MODELS, Answer

MODEL: Final = os.environ.get("BENCH_MODEL", "Photo")
PORT: Final = int(os.environ.get("BENCH_PORT", "8000"))
WORKERS: Final = int(os.environ.get("BENCH_WORKERS", "2"))
BATCHES: Final = MODEL == "Accelerator"
"""Only this model gains from batches: onnxruntime on one thread takes as long for each image."""

BATCH: Final = MODELS[MODEL].BATCH if BATCHES else 1


class Work:
    """A loaded model."""

    def __init__(self) -> None:
        self.model: Any = MODELS[MODEL]()
        self.model.load()
        if hasattr(self.model, "warmup"):
            self.model.warmup()
        self._decode = getattr(self.model, "decode", decode)

    def one(self, name: str, data: bytes) -> Answer:
        """The answer to one upload."""
        return self.many([(name, data)])[0]

    def many(self, uploads: Sequence[tuple[str, bytes]]) -> list[Answer]:
        """The answers to uploads, each a file's name and bytes, in order."""
        found = self.model.predict([self._decode(data) for _, data in uploads])
        return [{"image": name, **answer} for (name, _), answer in zip(uploads, found, strict=True)]


def decode(data: bytes) -> Image.Image:
    """An upright RGB image, of full size."""
    image = Image.open(io.BytesIO(data))
    return ImageOps.exif_transpose(image).convert("RGB")
