"""The models that every system serves: a real one, one that costs nothing, one that likes batches.

They are written as a model's author writes them for this server; the peers call the same code.
"""

import json
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ONNX_FILE = Path(__file__).parents[2] / "server/model/efficientnet_lite0.onnx"
SIDE = 224
CROP = 0.875
MEAN, SPREAD = np.float32(127), np.float32(128)

Answer = dict[str, object]


class Photo:
    """EfficientNet-Lite0 on onnxruntime, one thread a worker: preprocess, infer, best label."""

    input_size = (256, 256)

    def load(self) -> None:
        """Load the network and its labels."""
        import onnxruntime  # noqa: PLC0415 - the other models do without

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(
            ONNX_FILE, options, providers=["CPUExecutionProvider"]
        )
        self.labels = json.loads(self.session.get_modelmeta().custom_metadata_map["labels"])

    def warmup(self) -> None:
        """Run once, so that the first request doesn't pay for the first allocations."""
        self.predict([Image.new("RGB", (SIDE, SIDE))])

    def predict(self, images: Sequence[Image.Image]) -> list[Answer]:
        """The likeliest class of each upright RGB image."""
        batch = np.stack([preprocess(image) for image in images])
        (rows,) = self.session.run(["probabilities"], {"images": batch})
        return [
            {"label": self.labels[best], "confidence": round(float(row[best]), 6)}
            for row, best in zip(rows, rows.argmax(1), strict=True)
        ]


def preprocess(image: Image.Image) -> NDArray[np.float32]:
    """The middle square of an RGB image as 3x224x224 values from about -1 to 1."""
    side = CROP * min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    square = image.resize(
        (SIDE, SIDE),
        Image.Resampling.BICUBIC,
        box=(left, top, left + side, top + side),
        reducing_gap=3,
    )
    return (np.asarray(square, np.float32).transpose(2, 0, 1) - MEAN) / SPREAD


class Null:
    """Costs nothing: answers with the number of bytes, so what is measured is the server."""

    def load(self) -> None:
        """Nothing to load."""

    def decode(self, data: bytes) -> int:
        """All that is looked at: the size."""
        return len(data)

    def predict(self, sizes: Sequence[int]) -> list[Answer]:
        """One answer for each upload."""
        return [{"label": f"{size} bytes", "confidence": 1.0} for size in sizes]


class Accelerator(Null):
    """Waits as for a GPU: a fixed cost a batch and a small one an image, one batch at a time.

    Attributes:
        FIXED: Seconds a batch; the environment's `BENCH_FIXED_SECONDS` if that is set.
        EACH: Seconds an image.
        BATCH: The most images that it takes at once.
    """

    FIXED = float(os.environ.get("BENCH_FIXED_SECONDS", "0.1"))
    EACH = 0.002
    BATCH = 16

    def load(self) -> None:
        """The device: whoever uses it waits for it."""
        self.device = threading.Lock()

    def predict(self, sizes: Sequence[int]) -> list[Answer]:
        """One answer for each upload, in a time that does not depend on the machine."""
        if len(sizes) > self.BATCH:
            raise ValueError(f"a batch of {len(sizes)} is more than {self.BATCH}")
        with self.device:
            time.sleep(self.FIXED + self.EACH * len(sizes))
        return super().predict(sizes)


def rate(workers: int) -> float:
    """Images a second of so many accelerators that never wait for work and get full batches."""
    full = Accelerator.FIXED + Accelerator.EACH * Accelerator.BATCH
    return workers * Accelerator.BATCH / full


MODELS: dict[str, type[Any]] = {each.__name__: each for each in (Photo, Null, Accelerator)}
