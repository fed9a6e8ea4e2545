"""The corpus, mutated and sent to a real server: python -m tests.hostile.fuzz.wire [number].

Ends with exit code 1 when a reply is a 5xx, none comes in time, or the log shows a traceback; what
was sent then is printed. The seed is fixed: another run sends the same.
"""

import random
import socket
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from yarl import URL

from tests.hostile.corpus import FAMILIES
from tests.hostile.fuzz.mutations import mutations
from tests.server_process import ready_server

CLIENTS = 24
SECONDS = 10.0
SETTINGS = (
    *("--model", "tests/hostile/model.py:Sizes", "--workers", "1"),
    *("--body-timeout", "1", "--header-timeout", "1"),
)
SEEDS = [
    case.sent + case.later
    for cases in FAMILIES.values()
    for case in cases
    if 0 < len(case.sent) < 20_000
]
TOKENS = (
    *(b"\r\n", b"\n", b"\r", b"\0", b": ", b";", b'"', b"--XX", b"0\r\n\r\n", b"\xff", b"%", b"["),
    *(b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n"),
    *(b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b"HTTP/1.0", b"CONNECT ", b"HEAD "),
)


def status(address: tuple[str | None, int | None], sent: bytes) -> str:
    """The status of the first reply; "closed" if there is none, "late" if none comes in time."""
    try:
        with socket.create_connection(address, SECONDS) as connection:
            connection.sendall(sent)
            if len(sent) % 4 == 0:
                connection.shutdown(socket.SHUT_WR)
            return connection.recv(4096)[9:12].decode() or "closed"
    except TimeoutError:
        return "late"
    except OSError:
        return "closed"


def main() -> int:
    """Send them all; the exit code."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    bad, counts = [], Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        with ready_server(Path(folder) / "data", *SETTINGS) as server:
            address = URL(server.url).host, URL(server.url).port
            with ThreadPoolExecutor(CLIENTS) as clients:
                sent = list(mutations(SEEDS, TOKENS, number, random.Random(7)))
                got_all = clients.map(lambda each: status(address, each), sent)
                for each, got in zip(sent, got_all, strict=True):
                    counts[got] += 1
                    if got == "late" or got.startswith("5"):
                        bad.append((got, each))
        tracebacks = server.log.count("Traceback")
    print(dict(counts), "tracebacks:", tracebacks, *bad, sep="\n")
    return int(bool(bad or tracebacks))


if __name__ == "__main__":
    sys.exit(main())
