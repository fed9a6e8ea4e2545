"""Ray Serve: two replicas behind HAProxy, in its throughput mode, as its documentation advises.

Each runs its model in a thread of its own. `tools/bench/system.py` sets the modes.
"""

import asyncio
import os
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ray
from ray import serve
from starlette.requests import Request

from tools.bench.models import Answer
from tools.bench.peers.work import BATCH, PORT, WORKERS, Work


@serve.deployment(
    num_replicas=WORKERS,
    max_ongoing_requests=32,
    ray_actor_options={"num_cpus": 0.5},
)
class Predict:
    """Decodes and predicts."""

    def __init__(self) -> None:
        self.work = Work()
        self.pool = ThreadPoolExecutor(1)

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=0.01 if BATCH > 1 else 0)
    async def many(self, uploads: Sequence[tuple[str, bytes]]) -> list[Answer]:
        """The answers to a batch."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, self.work.many, uploads)

    async def __call__(self, request: Request) -> Answer:
        """The answer to one upload."""
        async with request.form() as form:
            upload = form["image"]
            found: Answer = await self.many((upload.filename, await upload.read()))
        return found


if __name__ == "__main__":
    ray.init(
        include_dashboard=False,
        num_cpus=WORKERS,
        logging_level="warning",
        _node_ip_address="127.0.0.1",
        _temp_dir=os.environ.get("RAY_TMPDIR"),
    )
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    deployment: Any = Predict  # the decorator made it one
    serve.run(deployment.bind(), route_prefix="/predict")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    ray.shutdown()
