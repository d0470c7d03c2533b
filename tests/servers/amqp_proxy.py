"""A TCP proxy before a broker, which can also offer TLS for it and speak in its name."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.servers import tcp_proxy


class Proxy(tcp_proxy.Proxy):
    """With a TLS context of its own it offers TLS before a broker that has none."""

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        self._tls = tls
        super().__init__((parts.hostname or "localhost", parts.port or 5672))
        host, port = self.address
        user = parts.netloc.rpartition("@")[0]
        self.url = f"{'amqps' if tls else 'amqp'}://{user}@{host}:{port}{parts.path}"

    def serve(self, client: socket.socket) -> None:
        super().serve(self._tls.wrap_socket(client, server_side=True) if self._tls else client)

    def tell(self, frame: bytes) -> None:
        """Send a frame to every client as if the broker had."""
        for link in tuple(self._links):
            link.client.sendall(frame)


@contextmanager
def proxy(url: str, tls: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    """A proxy before the broker at `url`."""
    server = Proxy(url, tls)
    try:
        yield server
    finally:
        server.thaw()
        server.stop()
