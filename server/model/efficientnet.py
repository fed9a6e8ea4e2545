"""The default model: EfficientNet-Lite0 says which of ImageNet's thousand things a photo shows."""

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from server.model import Classification

ONNX_FILE = Path(__file__).with_name("efficientnet_lite0.onnx")
SIDE = 224
CROP = 0.875
MEAN, SPREAD = np.float32(127), np.float32(128)
ANSWERS = 5


class EfficientNetLite0:
    """EfficientNet-Lite0, trained on ImageNet-1k, on onnxruntime."""

    name = "efficientnet-lite0"
    version = "1"
    input_size = (256, 256)

    def load(self) -> None:
        """Load the network and its labels."""
        if not ONNX_FILE.exists():
            raise FileNotFoundError(f"The default model {ONNX_FILE} is missing: run `make setup`.")
        options = onnxruntime.SessionOptions()
        # Each worker has its share of the cores: threads that spin would steal the others'.
        options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(
            ONNX_FILE, options, providers=["CPUExecutionProvider"]
        )
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.labels: list[str] = json.loads(metadata["labels"])

    def warmup(self) -> None:
        """Run once, so that the first request doesn't pay for the first allocations."""
        self.predict([Image.new("RGB", (SIDE, SIDE))])

    def predict(self, images: list[Image.Image]) -> list[list[Classification]]:
        """Return the five likeliest classes of each upright RGB image, the likeliest first."""
        batch = np.stack([preprocess(image) for image in images])
        (probabilities,) = self.session.run(["probabilities"], {"images": batch})
        return [self._answers(row) for row in probabilities]

    def _answers(self, probabilities: NDArray[np.float32]) -> list[Classification]:
        best = np.argsort(-probabilities)[:ANSWERS]
        return [Classification(self.labels[i], round(float(probabilities[i]), 6)) for i in best]


def preprocess(image: Image.Image) -> NDArray[np.float32]:
    """Return the middle square of an RGB image as 3x224x224 values from about -1 to 1."""
    side = CROP * min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    square = image.resize(
        (SIDE, SIDE),
        Image.Resampling.BICUBIC,
        box=(left, top, left + side, top + side),
        reducing_gap=3,  # four times as fast where a large image could not be decoded reduced
    )
    return (np.asarray(square, np.float32).transpose(2, 0, 1) - MEAN) / SPREAD
