"""The runner's tests, and a model that misbehaves for them; a worker loads it from this file."""

import ctypes
import os
import signal
import struct
import sys
import time
from typing import Any


class Odd:
    """Does what the test asks by the file name in MODEL_DOES; answers its process id."""

    def load(self) -> None:
        self._does("load")

    def predict(self, images: list[object]) -> list[dict[str, Any]]:
        self._does("predict")
        return [{"label": str(os.getpid()), "confidence": 1.0} for _ in images]

    def _does(self, moment: str) -> None:
        when, _, what = os.environ.get("MODEL_DOES", "").partition(" ")
        if when == moment:
            getattr(self, what)()

    def leave(self) -> None:
        sys.exit(5)

    def hang(self) -> None:
        os.write(2, b"hanging\n")
        time.sleep(3600)

    def crash(self) -> None:
        ctypes.string_at(0)

    def print(self) -> None:
        print("printed by the model", flush=True)  # noqa: T201
        os.write(1, b"written by the model\n")

    def close_everything(self) -> None:
        os.closerange(3, 1000)

    def start_a_process(self) -> None:
        if os.fork() == 0:
            signal.pause()
            os._exit(0)

    def stop_in_the_middle_of_its_answer(self) -> None:
        os.write(int(sys.argv[1]), struct.pack("!i", 1000) + b"x")
        os.kill(os.getpid(), signal.SIGSTOP)

    def show_its_threads(self) -> None:
        os.write(2, f"threads: {os.environ['OMP_NUM_THREADS']}\n".encode())
