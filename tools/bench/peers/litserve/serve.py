"""LitServe: two workers on the CPU; ZeroMQ queues (`fast_queue`), as its documentation advises."""

import litserve
from starlette.formparsers import MultiPartParser
from starlette.requests import Request

from tools.bench.peers.work import BATCH, PORT, WORKERS, Work

MultiPartParser.spool_max_size = 2**25
"""A larger upload is a file on disk, which LitServe can't hand to its workers."""


class Api(litserve.LitAPI):
    """Decodes and predicts in a worker."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - always the CPU
        """Load the model."""
        self.work = Work()

    def decode_request(self, request: Request) -> tuple[str, bytes]:
        """The upload's name and bytes; of a form, the request is its fields."""
        upload = request["image"]
        return upload.filename, upload.file.read()

    def predict(self, uploads: tuple[str, bytes] | list[tuple[str, bytes]]) -> object:
        """One answer, or those of a batch."""
        return self.work.many(uploads) if isinstance(uploads, list) else self.work.one(*uploads)


if __name__ == "__main__":
    api = Api(max_batch_size=BATCH, batch_timeout=0.01 if BATCH > 1 else 0)
    server = litserve.LitServer(
        api, accelerator="cpu", workers_per_device=WORKERS, timeout=60, fast_queue=True
    )
    server.run(host="127.0.0.1", port=PORT, generate_client_file=False, log_level="warning")
