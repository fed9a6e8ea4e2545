"""The child process of a worker: loads the model it is told, answers batches until the pipe ends.

Started as `python -m server.runner.child FILE_DESCRIPTOR PARENT_PID`.
"""

import contextlib
import ctypes
import os
import pickle
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from server import logs
from server.model.hosted import HostedModel
from server.runner.worker import ModelLoadError, WorkerConfig, load_hosted

PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>

BEFORE_THE_SERVER: Final = 300
"""By how much more likely than the server this process is ended when memory runs out, of 1000."""


def main() -> None:
    """Serve the pipe whose descriptor is the first argument."""
    _die_with(parent=int(sys.argv[2]))
    _die_before_the_server()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the server drains, then ends the pipe
    with contextlib.suppress(EOFError, ConnectionError):
        _serve(Connection(int(sys.argv[1])))


def _serve(pipe: Connection) -> None:
    config: WorkerConfig = pickle.loads(pipe.recv_bytes())  # noqa: S301 - our parent's # nosec B301
    logs.configure(config.log_format)
    hosted = HostedModel(config.model, config.limits)
    try:
        answer: object = load_hosted(hosted)
    except ModelLoadError as error:
        answer = (str(error), error.details)
    pipe.send_bytes(pickle.dumps(answer, protocol=pickle.HIGHEST_PROTOCOL))
    while True:
        outcomes = hosted.run(pickle.loads(pipe.recv_bytes()))  # noqa: S301 # nosec B301
        pipe.send_bytes(pickle.dumps(outcomes, protocol=pickle.HIGHEST_PROTOCOL))


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, even by SIGKILL."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(0)  # it ended before the kernel was told


def _die_before_the_server() -> None:
    """Have the kernel, out of memory, end this process: a worker is replaced, a server is not."""
    with contextlib.suppress(OSError):  # there is no such file on other systems
        score = Path("/proc/self/oom_score_adj")
        score.write_text(str(min(1000, int(score.read_text()) + BEFORE_THE_SERVER)))


if __name__ == "__main__":
    main()
