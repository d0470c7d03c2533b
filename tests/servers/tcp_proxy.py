"""A TCP proxy before any server, whose network can be made as bad as a test wants it."""

import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

RESET = struct.pack("ii", 1, 0)

# A worker's prepared statements come without their text; these values tell them: of a lane that is worked
# off, and of the first attempts in an array of claims.
CLAIM = b"http_callback"
RESULT = b"[1"


@dataclass(frozen=True, slots=True)
class LostReply:
    """A reply that is not to arrive: of the first request from now on that holds `request`.

    `happened` is set when the server has replied, so it has done what it was asked; `reset` ends the
    connection then, else it stays open and is silent from then on.
    """

    request: bytes
    reset: bool
    happened: threading.Event


@dataclass(frozen=True, slots=True)
class LateRequest:
    """The first request from now on that holds `request` stays on the way until it is `released`.

    `sent` is set when it is on the way. It arrives even where its client is gone by then.
    """

    request: bytes
    sent: threading.Event
    released: threading.Event


@dataclass(eq=False, slots=True)
class _Link:
    client: socket.socket
    server: socket.socket
    silent: bool = False
    loses: LostReply | None = None


class Proxy:
    """Passes bytes on, unless it is told otherwise; `delay` is in seconds, for each piece of either way."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server_address = server
        self.address = ("127.0.0.1", 0)
        self.delay = 0.0
        self._flows = threading.Event()
        self._flows.set()
        self._links: set[_Link] = set()
        self._lose: LostReply | None = None
        self._late: LateRequest | None = None
        self.start()

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._links)

    def start(self) -> None:
        """Listen, at the same port as before."""
        self._listener = _Listener(self.address, _handler(self))
        self.address = ("127.0.0.1", int(self._listener.socket.getsockname()[1]))
        threading.Thread(target=self._listener.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Refuse new connections and reset those there are."""
        self._listener.shutdown()
        self._listener.server_close()
        self.cut()

    def cut(self) -> None:
        """Reset every connection."""
        for link in tuple(self._links):
            _reset(link)

    def freeze(self) -> None:
        """Accept and acknowledge everything, pass nothing on: a server that hangs."""
        self._flows.clear()

    def thaw(self) -> None:
        """Pass on what came meanwhile and what comes."""
        self._flows.set()

    def half_open(self) -> None:
        """The connections there are stay silent for ever; new ones work."""
        for link in tuple(self._links):
            link.silent = True

    def lose_reply(self, request: bytes, *, reset: bool = False) -> LostReply:
        """Swallow one reply. A prepared statement comes without its text: name a value in it then."""
        self._lose = LostReply(request, reset, threading.Event())
        return self._lose

    def hold_request(self, request: bytes) -> LateRequest:
        """Keep one request on the way; other connections are as fast as ever."""
        self._late = LateRequest(request, threading.Event(), threading.Event())
        return self._late

    def serve(self, client: socket.socket) -> None:
        """One connection, to its end."""
        with closing(client), socket.create_connection(self._server_address) as server:
            link = _Link(client, server)
            self._links.add(link)
            back = threading.Thread(target=self._replies, args=(link,), daemon=True)
            back.start()
            self._requests(link)
            back.join()
            self._links.discard(link)

    def _requests(self, link: _Link) -> None:
        with suppress(OSError):
            while data := self._receive(link.client):
                if self._lose and self._lose.request in data:
                    link.loses, self._lose = self._lose, None
                if self._late and self._late.request in data:
                    late, self._late = self._late, None
                    late.sent.set()
                    late.released.wait()
                if not link.silent:
                    link.server.sendall(data)
        _shut(link)

    def _replies(self, link: _Link) -> None:
        with suppress(OSError):
            while data := self._receive(link.server):
                if link.loses:
                    link.silent = True
                    link.loses.happened.set()
                    if link.loses.reset:
                        _reset(link)
                if not link.silent:
                    link.client.sendall(data)
        if not link.silent:
            _shut(link)

    def _receive(self, source: socket.socket) -> bytes:
        data = source.recv(65536)
        if data and self.delay:
            threading.Event().wait(self.delay)
        self._flows.wait()
        return data


class _Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A server that refuses while a client connects is what some tests are about."""


def _handler(proxy: Proxy) -> type[socketserver.BaseRequestHandler]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            proxy.serve(self.request)

    return Handler


def _shut(link: _Link) -> None:
    for end in (link.client, link.server):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _reset(link: _Link) -> None:
    # Takes effect when it is closed; shutting it down ends the wait of whoever will close it.
    with suppress(OSError):
        link.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    _shut(link)


@contextmanager
def proxy(server: tuple[str, int]) -> Iterator[Proxy]:
    """A proxy before the server at this address."""
    opened = Proxy(server)
    try:
        yield opened
    finally:
        opened.thaw()
        opened.stop()


@contextmanager
def database_proxy(dsn: str) -> Iterator[tuple[Proxy, str]]:
    """A proxy before a PostgreSQL, and the address of the same database through it."""
    parts = urlsplit(dsn)
    with proxy((parts.hostname or "localhost", parts.port or 5432)) as opened:
        host, port = opened.address
        user = parts.netloc.rpartition("@")[0]
        yield opened, f"postgresql://{user}@{host}:{port}{parts.path}?sslmode=disable"
