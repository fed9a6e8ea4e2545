"""Mosec: its Rust front and two worker processes; run with the timeouts and bodies that we need.

A worker gets the body without its headers, so it takes the form apart by itself.
"""

import re
from typing import Final

from mosec import Server, Worker

from tools.bench.models import Answer
from tools.bench.peers.work import BATCH, WORKERS, Work

_NAME: Final = re.compile(rb'filename="([^"]*)"')


class Predict(Worker):
    """Decodes and predicts."""

    def __init__(self) -> None:
        super().__init__()
        self.work = Work()

    def deserialize(self, data: bytes) -> tuple[str, bytes]:
        """The name and bytes of the one file of a form."""
        head = data.index(b"\r\n\r\n") + 4
        boundary = data.index(b"\r\n")
        found = _NAME.search(data, 0, head)
        if found is None:
            raise ValueError("the form has no file")
        return found[1].decode(), data[head : -boundary - 6]

    def forward(self, data: tuple[str, bytes] | list[tuple[str, bytes]]) -> Answer | list[Answer]:
        """One answer, or those of a batch."""
        return self.work.many(data) if isinstance(data, list) else self.work.one(*data)


if __name__ == "__main__":
    server = Server()
    server.append_worker(
        Predict, num=WORKERS, max_batch_size=BATCH, max_wait_time=10, timeout=60, route="/predict"
    )
    server.run()
