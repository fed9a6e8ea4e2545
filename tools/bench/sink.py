"""A server that does nothing, to see how fast the load generators can be.

`python -m tools.bench.sink PORT` reads requests and answers each with the same bytes.
"""

import asyncio
import sys
from typing import cast

import uvloop

_ANSWER = b'{"image":"photo-noise.jpg","label":"200000 bytes","confidence":1.0}'
_REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(_ANSWER), _ANSWER)


class Sink(asyncio.Protocol):
    """One connection: heads are read for the length of the body, bodies are dropped."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing has come yet."""
        self._transport = cast("asyncio.Transport", transport)
        self._head = b""
        self._due = 0

    def data_received(self, data: bytes) -> None:
        """Drop bytes; answer at the end of a body."""
        if not self._due:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            lower = self._head[:end].lower()
            length = int(lower.partition(b"content-length:")[2].partition(b"\r\n")[0])
            data, self._due = self._head[end + 4 :], length
            self._head = b""
        self._due -= len(data)
        if not self._due:
            self._transport.write(_REPLY)


async def main(port: int) -> None:
    """Serve for ever."""
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
