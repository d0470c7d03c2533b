"""Counts the statements that come by: `python -m bench.servers.statements HOST PORT`; prints its own port.

Passes everything on to the PostgreSQL server there, and marks each statement when its client sends it: in the
slots from 0 on, those of a connection that listens from LISTENING on. Speaks no TLS, and says so to clients
that ask.
"""

import asyncio
import itertools
import struct
import sys

import uvloop

from bench import marks

LISTENING = 1_000_000
SLOTS = 2 * LISTENING

# Messages of PostgreSQL's protocol (chapter 54.7 of its manual).
ENCRYPTION = (80877103, 80877104)  # SSLRequest, GSSENCRequest
REFUSED = b"N"
QUERY, PARSE, EXECUTE = b"Q", b"P", b"E"
LENGTH, CODE = struct.Struct("!i"), struct.Struct("!ii")

BLOCK = 65536


class Counter:
    """Marks the statements of all connections in the order of their coming."""

    def __init__(self) -> None:
        self._arrivals = marks.inherited()
        self._numbers = itertools.count()
        self._listening = itertools.count(LISTENING)

    def count(self, *, listening: bool) -> None:
        """One more."""
        self._arrivals.mark(next(self._listening if listening else self._numbers))


async def begin(reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> bytes:
    """The packet that begins a session; a wish for encryption before it is refused."""
    while True:
        head = await reader.readexactly(CODE.size)
        length, code = CODE.unpack(head)
        if code not in ENCRYPTION:
            return head + await reader.readexactly(length - CODE.size)
        client.write(REFUSED)


async def watch(reader: asyncio.StreamReader, server: asyncio.StreamWriter, counter: Counter) -> None:
    """Pass on what the client says, message by message."""
    listening = False
    while True:
        kind, length = await reader.readexactly(1), await reader.readexactly(LENGTH.size)
        body = await reader.readexactly(LENGTH.unpack(length)[0] - LENGTH.size)
        server.write(kind + length + body)
        if kind in (QUERY, PARSE):
            listening = listening or b"LISTEN " in body.upper()
        if kind in (QUERY, EXECUTE):
            counter.count(listening=listening)


async def answer(reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
    """Pass on what the server says."""
    while block := await reader.read(BLOCK):
        client.write(block)


async def relay(
    address: tuple[str, int], counter: Counter, reader: asyncio.StreamReader, client: asyncio.StreamWriter
) -> None:
    """One connection, until either side ends it."""
    answers, server = await asyncio.open_connection(*address)
    try:
        server.write(await begin(reader, client))
        ways = [
            asyncio.ensure_future(watch(reader, server, counter)),
            asyncio.ensure_future(answer(answers, client)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
    finally:
        server.close()
        client.close()


async def serve(host: str, port: int) -> None:
    """Serve until the process ends."""
    counter = Counter()

    async def connected(reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        await relay((host, port), counter, reader, client)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2])))
