"""A client that sends what it is told, byte by byte, and reads every reply."""

import json
import socket
from typing import Any, NamedTuple

from yarl import URL

from tests.hostile.wire import Case

SECONDS = 20.0
"""In which every reply must have come."""


class Reply(NamedTuple):
    """A reply; its status is 0 if the connection just ended, its headers' names are small."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def envelope(self) -> dict[str, Any]:
        """The body as JSON."""
        envelope: dict[str, Any] = json.loads(self.body)
        return envelope


class Exchange(NamedTuple):
    """What came of a case: its replies, and where the connection must end, the bytes behind."""

    reply: Reply
    second: Reply | None
    rest: bytes | None


def exchange(url: str, case: Case) -> Exchange:
    """Send a case to the server and read what it answers; a reply that fails has the status -1."""
    try:
        return _exchange(url, case)
    except OSError as error:
        return Exchange(Reply(-1, {}, repr(error).encode()), None, None)


def verify(case: Case, answered: Exchange) -> None:
    """See that a case was answered as it must be.

    Raises:
        AssertionError: It was not.
    """
    reply, second, rest = answered
    assert reply.status == case.status, reply
    assert (second and second.status) == case.then
    if case.closed or case.half_closed or case.then:
        assert rest == b"", "there is more, or the connection is kept"
    if reply.status:
        assert reply.headers["server"] == "server"  # and no version
    if reply.status == 405:
        assert reply.headers["allow"]
    if case.error:
        assert reply.headers["content-type"].startswith("application/json")
        assert reply.envelope["error"] == case.error
        assert reply.envelope["status"] == "Fail"
        assert " " in reply.envelope["response"]
        assert len(reply.body) < 1000


def _exchange(url: str, case: Case) -> Exchange:
    host, port = URL(url).host, URL(url).port
    with socket.create_connection((host, port), SECONDS) as connection:
        connection.sendall(case.sent)
        if case.half_closed:
            connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as stream:
            has_body = not case.sent.startswith(b"HEAD")
            reply = _read(stream, has_body=has_body)
            if case.later:
                connection.sendall(case.later)
            if reply.status == 100:
                reply = _read(stream, has_body=has_body)
            second = None if case.then is None else _read(stream, has_body=True)
            ends = case.closed or case.half_closed or second is not None
            return Exchange(reply, second, stream.read() if ends else None)


def _read(stream: Any, *, has_body: bool) -> Reply:  # Any: what makefile gives has no one type
    line = stream.readline()
    if not line:
        return Reply(0, {}, b"")
    headers = {}
    while (header := stream.readline().decode("latin-1").rstrip("\r\n")) != "":
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    body = b""
    if has_body and "content-length" in headers:
        body = stream.read(int(headers["content-length"]))
    elif has_body and "transfer-encoding" in headers:
        while size := int(stream.readline(), 16):
            body += stream.read(size)
            stream.readline()
        stream.readline()
    return Reply(int(line.split()[1]), headers, body)
