"""Connections between two exchanges, kept for whichever thread next wants one to the same origin."""

import select
import socket
import threading
import time
from typing import NamedTuple

# Node and Apache close a connection after five idle seconds; a request sent just then is lost.
LONGEST_IDLE = 4.0
# So that many receivers do not use up the open files.
MOST_IDLE = 512


class _Since(NamedTuple):
    origin: str
    instant: float


class IdleConnections:
    """The one used last goes first, so that a quiet worker gets by with few."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # In the order in which they became idle.
        self._idle: dict[socket.socket, _Since] = {}

    def take(self, origin: str) -> socket.socket | None:
        """A connection to the origin that is still good."""
        while found := self._last(origin):
            sock, since = found
            if time.monotonic() - since < LONGEST_IDLE and not _has_news(sock):
                return sock
            sock.close()
        return None

    def keep(self, origin: str, sock: socket.socket) -> None:
        """Take a connection back whose last answer was read to its end."""
        now = time.monotonic()
        with self._lock:
            self._idle[sock] = _Since(origin, now)
            old = [self._first() for _ in range(len(self._idle) - MOST_IDLE)]
            while self._idle and now - next(iter(self._idle.values())).instant >= LONGEST_IDLE:
                old.append(self._first())
        for connection in old:
            connection.close()

    def close(self) -> None:
        """Close all."""
        with self._lock:
            connections = list(self._idle)
            self._idle.clear()
        for connection in connections:
            connection.close()

    def _first(self) -> socket.socket:
        sock = next(iter(self._idle))
        del self._idle[sock]
        return sock

    def _last(self, origin: str) -> tuple[socket.socket, float] | None:
        with self._lock:
            for sock, since in reversed(self._idle.items()):
                if since.origin == origin:
                    del self._idle[sock]
                    return sock, since.instant
        return None


def _has_news(sock: socket.socket) -> bool:
    """Between two exchanges only the end of the connection comes in."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
