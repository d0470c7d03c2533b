"""An SMTP server: `python -m bench.servers.smtp`; prints its port, takes every mail and marks its arrival."""

import asyncio
import itertools
import sys

import uvloop
from aiosmtpd.smtp import SMTP, Envelope, Session

from bench import marks


class Handler:
    """Takes every mail and keeps none."""

    def __init__(self) -> None:
        self._arrivals = marks.inherited()
        self._numbers = itertools.count()

    async def handle_DATA(self, _server: SMTP, _session: Session, _envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Say yes."""
        self._arrivals.mark(next(self._numbers))
        return "250 OK"


async def serve() -> None:
    """Serve until the process ends."""
    handler = Handler()
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(handler, hostname="localhost"), "127.0.0.1", 0, backlog=1000
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
