"""The probe: asks the server in this container whether it is ready, at little cost.

`python -m server.probe` ends with code 0 if it is, else with 1, and prints what the server says. It
looks where the server listens by the flags of process 1 and the environment, or by its own flags.
"""

import os
import socket
import sys
from pathlib import Path
from typing import Final

SECONDS: Final = 4.0
REQUEST: Final = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
HERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound


def main() -> int:
    """Ask, print the answer; the exit code."""
    host, port, encrypted = address(sys.argv[1:] or flags(Path("/proc/1/cmdline")))
    try:
        head, _, body = ask(host, port, encrypted=encrypted).partition("\r\n\r\n")
    except OSError as error:
        sys.stdout.write(f"no answer from {host}:{port}: {error}\n")
        return 1
    sys.stdout.write(f"{body}\n")
    return 0 if head.split()[1:2] == ["200"] else 1


def address(arguments: list[str]) -> tuple[str, int, bool]:
    """Where a server with these flags, and this environment, listens, and whether with TLS."""
    host = _setting("host", arguments) or "0.0.0.0"  # noqa: S104 - compared, not bound
    port = _setting("port", arguments) or os.environ.get("PORT") or "9000"
    return HERE.get(host, host), int(port), bool(_setting("tls-cert", arguments))


def flags(command_line: Path) -> list[str]:
    """What follows `-m server` in a command line as the kernel tells it; nothing if it has none."""
    try:
        return command_line.read_text().partition("-m\0server\0")[2].split("\0")
    except OSError:
        return []


def ask(host: str, port: int, *, encrypted: bool) -> str:
    """The server's whole reply.

    Raises:
        OSError: There was none in time.
    """
    with socket.create_connection((host, port), SECONDS) as plain:
        connection = _encrypt(plain) if encrypted else plain
        with connection:
            connection.sendall(REQUEST)
            return b"".join(iter(lambda: connection.recv(4096), b"")).decode(errors="replace")


def _setting(name: str, arguments: list[str]) -> str | None:
    """A setting's flag, the last one of several, else its variable."""
    flag = f"--{name}"
    found = os.environ.get(f"SERVER_{name}".upper().replace("-", "_"))
    for argument, following in zip(arguments, [*arguments[1:], None], strict=False):
        if argument == flag:
            found = following
        elif argument.startswith(f"{flag}="):
            found = argument.removeprefix(f"{flag}=")
    return found


def _encrypt(plain: socket.socket) -> socket.socket:
    """TLS, whoever the certificate names: it is this very container."""
    import ssl  # noqa: PLC0415 - slow, and most probes need none

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(plain)


if __name__ == "__main__":
    sys.exit(main())
