"""BentoML: two workers of one service; adaptive batching for the model that gains from it."""

from pathlib import Path

import bentoml

from tools.bench.models import Answer
from tools.bench.peers.work import BATCH, BATCHES, WORKERS, Work


@bentoml.service(
    workers=WORKERS,
    traffic={"timeout": 60, "concurrency": 64},
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
)
class Service:
    """Decodes and predicts."""

    def __init__(self) -> None:
        self.work = Work()

    if BATCHES:

        @bentoml.api(batchable=True, max_batch_size=BATCH, max_latency_ms=60_000)
        def predict(self, image: list[Path]) -> list[Answer]:
            """The answers to a batch of uploads."""
            return self.work.many([(path.name, path.read_bytes()) for path in image])

    else:

        @bentoml.api
        def predict(self, image: Path) -> Answer:
            """The answer to one upload."""
            return self.work.one(image.name, image.read_bytes())
