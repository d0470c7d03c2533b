"""A TCP proxy before a broker, which can be frozen, cut and brought back, and can speak for the broker."""

import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from urllib.parse import urlsplit

RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Passes bytes on; with a context of its own it offers TLS before a broker that has none."""

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        self._broker = (parts.hostname or "localhost", parts.port or 5672)
        self._tls = tls
        self._address = ("127.0.0.1", 0)
        self._flows = threading.Event()
        self._flows.set()
        self._clients: list[socket.socket] = []
        self.start()
        user = parts.netloc.rpartition("@")[0]
        scheme = "amqps" if tls else "amqp"
        self.url = f"{scheme}://{user}@127.0.0.1:{self._address[1]}{parts.path}"

    def start(self) -> None:
        self._server = _Server(self._address, _handler(self))
        self._address = ("127.0.0.1", self._server.socket.getsockname()[1])
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Refuse new connections and reset those there are."""
        self._server.shutdown()
        self.cut()
        self._server.server_close()

    def cut(self) -> None:
        """Reset every connection."""
        while self._clients:
            client = self._clients.pop()
            with suppress(OSError):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                client.shutdown(socket.SHUT_RDWR)

    def freeze(self) -> None:
        """Accept everything, pass nothing on."""
        self._flows.clear()

    def thaw(self) -> None:
        self._flows.set()

    def tell(self, frame: bytes) -> None:
        """Send a frame to every client as if the broker had."""
        for client in self._clients:
            client.sendall(frame)

    def serve(self, accepted: socket.socket) -> None:
        client = self._tls.wrap_socket(accepted, server_side=True) if self._tls else accepted
        with closing(client), socket.create_connection(self._broker) as broker:
            self._clients.append(client)
            back = threading.Thread(target=self._pump, args=(broker, client), daemon=True)
            back.start()
            self._pump(client, broker)
            back.join()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._flows.wait()
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that goes in the middle of its handshake is what some tests are about."""


def _handler(proxy: Proxy) -> type[socketserver.BaseRequestHandler]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            proxy.serve(self.request)

    return Handler


@contextmanager
def proxy(url: str, tls: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    """A proxy before the broker at `url`."""
    server = Proxy(url, tls)
    try:
        yield server
    finally:
        server.thaw()
        server.stop()
