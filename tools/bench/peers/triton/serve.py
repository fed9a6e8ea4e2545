"""Triton through PyTriton: two instances of the model; its dynamic batcher where batches gain.

PyTriton runs instances in threads of one process; decoding and onnxruntime release its lock.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from tools.bench.peers.work import BATCH, BATCHES, PORT, WORKERS, Work


class Instance:
    """One loaded model."""

    def __init__(self) -> None:
        self.work = Work()

    @batch
    def __call__(self, name: Any, image: Any) -> dict[str, Any]:
        """The answers to a batch, JSON each."""
        found = self.work.many(
            [(str(key, "utf-8"), data) for [key], [data] in zip(name, image, strict=True)]
        )
        return {"answer": np.array([[json.dumps(each).encode()] for each in found], np.object_)}


def main() -> None:
    """Serve until told to stop."""
    files = (Tensor(name=key, dtype=bytes, shape=(1,)) for key in ("name", "image"))
    answers: Sequence[Tensor] = [Tensor(name="answer", dtype=bytes, shape=(1,))]
    config = ModelConfig(
        batching=True,
        max_batch_size=BATCH,
        batcher=DynamicBatcher(max_queue_delay_microseconds=10_000 if BATCHES else 0),
    )
    ports = TritonConfig(http_port=PORT, http_address="127.0.0.1", allow_grpc=False,
                         allow_metrics=False, log_verbose=0)  # fmt: skip
    with Triton(config=ports) as triton:
        triton.bind(
            model_name="bench",
            infer_func=[Instance() for _ in range(WORKERS)],
            inputs=list(files),
            outputs=answers,
            config=config,
        )
        triton.serve()


if __name__ == "__main__":
    main()
