"""A worker that is a process of its own: what happens there can't harm the server."""

import os
import pickle
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, Final

from server.errors import PredictTimeoutError, WorkerLostError
from server.model.hosted import ImageInput, ModelInfo, Outcome
from server.runner.worker import ModelLoadError, WorkerConfig

END_SECONDS: Final = 2.0
"""How long a process whose pipe has ended may take to end too before it is killed."""

MEANWHILE: Final = {"load": "loaded the model", "answer": "held this image"}


class ProcessWorker:
    """A model loaded in a child process, spoken to over a socket pair, in pickles.

    Args:
        config: What it is made of.
        environment: Added to the server's environment.
    """

    def __init__(self, config: WorkerConfig, environment: dict[str, str]) -> None:
        self._config = config
        self._environment = environment
        self._images = 0
        self._killed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None

    @property
    def worn(self) -> bool:
        """Whether it ran as many images as it should."""
        return 0 < self._config.recycle_after <= self._images

    def load(self) -> ModelInfo:
        """Start the process and load the model in it."""
        ours, theirs = socket.socketpair()
        _set_timeout(ours, self._config.predict_timeout)
        with theirs:
            command = [sys.executable, "-m", "server.runner.child"]
            self._process = subprocess.Popen(  # noqa: S603 - our own module, fixed arguments
                [*command, str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=2,  # what a model prints belongs in the log
                pass_fds=[theirs.fileno()],
                env=os.environ | self._environment,
            )
        self._pipe = Connection(ours.detach())
        if self._killed:
            self._process.kill()
        try:
            answer = self._ask(self._config, self._config.load_timeout, "load")
        except (WorkerLostError, PredictTimeoutError) as error:
            raise ModelLoadError(error.sentence) from error
        if isinstance(answer, ModelInfo):
            return answer
        raise ModelLoadError(*answer)

    def run(self, inputs: Sequence[ImageInput]) -> list[Outcome]:
        """One outcome for each input, in order."""
        self._images += len(inputs)
        answer: list[Outcome] = self._ask(inputs, self._config.predict_timeout, "answer")
        return answer

    def close(self) -> None:
        """End the process: it leaves when its pipe ends, or is killed."""
        if self._pipe:
            self._pipe.close()
        if self._process:
            self._end(self._process)

    def kill(self) -> None:
        """End the process now, or as soon as it is started."""
        self._killed = True
        if self._process:
            self._process.kill()

    def _ask(self, message: object, timeout: float, doing: str) -> Any:  # Any: what was unpickled
        if not self._pipe or not self._process:
            raise WorkerLostError("The worker was not started.")
        try:
            self._pipe.send_bytes(pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL))
            if self._pipe.poll(timeout):
                return pickle.loads(self._pipe.recv_bytes())  # noqa: S301 - our child's # nosec B301
        except BlockingIOError:
            pass  # it stopped in the middle of a message
        except (EOFError, OSError) as error:
            how = _epitaph(self._end(self._process))
            raise WorkerLostError(f"{how} while it {MEANWHILE[doing]}.") from error
        self._process.kill()
        raise PredictTimeoutError(f"The model did not {doing} within {timeout:g} s.")

    @staticmethod
    def _end(process: "subprocess.Popen[bytes]") -> int:
        """Wait for the end of a process whose pipe has ended; its exit code."""
        try:
            return process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def _set_timeout(pipe: socket.socket, seconds: float) -> None:
    """Bound each read and write: a stopped process must not hold the thread that feeds it."""
    timeval = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6) or int(seconds < 1))
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        pipe.setsockopt(socket.SOL_SOCKET, option, timeval)


def _epitaph(returncode: int) -> str:
    how = f"by signal {-returncode}" if returncode < 0 else f"with exit code {returncode}"
    return f"The worker process ended {how}"
