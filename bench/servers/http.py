"""A fast HTTP server: `python -m bench.servers.http DELAY [CERTIFICATE]`; prints its port.

Answers 200 to every request after so many seconds, and marks the arrival of each in the order of arrival.
"""

import asyncio
import itertools
import ssl
import sys
from collections.abc import Iterator
from typing import cast

import uvloop

from bench import marks

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length:"


class Connection(asyncio.Protocol):
    """One kept connection; knows of HTTP what it takes to find the end of a request."""

    def __init__(self, arrivals: marks.Marks, numbers: Iterator[int], delay: float) -> None:
        self._arrivals = arrivals
        self._numbers = numbers
        self._delay = delay
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (length := _complete(self._received)) is not None:
            self._received = self._received[length:]
            self._arrivals.mark(next(self._numbers))
            if self._delay:
                asyncio.get_running_loop().call_later(self._delay, self._answer)
            else:
                self._answer()

    def _answer(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(ANSWER)


def _complete(received: bytes) -> int | None:
    """The length of the first request, once it is there."""
    head = received.find(HEAD_END)
    if head < 0:
        return None
    lower = received[:head].lower()
    at = lower.find(LENGTH)
    body = int(lower[at + len(LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
    length = head + len(HEAD_END) + body
    return length if len(received) >= length else None


async def serve(delay: float, certificate: str | None) -> None:
    """Serve until the process ends."""
    arrivals, numbers = marks.inherited(), itertools.count()
    tls = None
    if certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(arrivals, numbers, delay), "127.0.0.1", 0, ssl=tls, backlog=1000
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(float(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None))
