"""Opens connections, straight or through a proxy, with TLS or without, by the deadline of the thread."""

import base64
import http.client
import socket
import ssl
from collections.abc import Mapping
from urllib.parse import unquote

import certifi
from urllib3.connection import HTTPConnection, HTTPSConnection, ProxyConfig
from urllib3.util import Url, parse_url

from at_worker.executors.http_callback.deadlines import (
    DeadlineSocket,
    DeadlineTlsSocket,
    connect,
    host_and_port,
    no_answer,
)
from at_worker.executors.http_callback.guard import UNGUARDED, Guard

_PORTS = {"http": 80, "https": 443}


class Dialer:
    """Connects to origins, such as `https://example.org:8443`."""

    def __init__(self, *, ca_file: str | None, proxy_url: str | None, guard: Guard) -> None:
        self.context = ssl.create_default_context(cafile=ca_file or certifi.where())
        self.context.sslsocket_class = DeadlineTlsSocket
        self._guard = guard
        self._proxy = parse_url(proxy_url) if proxy_url else None
        self.proxy_headers = _authorization(self._proxy)

    def open(self, origin: str) -> socket.socket:
        """Connect to an origin. Raises NoAnswer and Refused."""
        connection = self._connection(parse_url(origin))
        connection.guard = self._guard
        try:
            connection.connect()
        except (http.client.HTTPException, OSError) as error:
            stuck = connection.proxy and not connection.has_connected_to_proxy
            connection.close()
            raise no_answer(error, f"the proxy for {place(origin)}" if stuck else place(origin)) from None
        # Where TLS runs inside TLS it is urllib3's SSLTransport, which offers what is used of a socket.
        sock: socket.socket = connection.sock
        return sock

    def forwards(self, origin: str) -> bool:
        """Whether requests go to the proxy, which passes them on, and not to the origin itself."""
        return self._proxy is not None and origin.startswith("http:")

    def _connection(self, origin: Url) -> "_Connection":
        proxy = self._proxy
        via = proxy or origin
        host, port = _address(via)
        if "https" not in (origin.scheme, via.scheme):
            return _Connection(host, port, proxy=proxy)
        config = ProxyConfig(
            self.context, use_forwarding_for_https=False, assert_hostname=None, assert_fingerprint=None
        )
        connection = _TlsConnection(host, port, proxy=proxy, proxy_config=config, ssl_context=self.context)
        if proxy and origin.scheme == "https":
            connection.set_tunnel(*_address(origin), self.proxy_headers, proxy.scheme or "")
        return connection


def place(origin: str) -> str:
    """Host and port, for people."""
    return host_and_port(*_address(parse_url(origin)))


def ascii_host(name: str) -> str:
    """The host name as the name system knows it (IDNA 2008). Raises ValueError."""
    host = parse_url(f"http://{name}/").host
    if host is None:
        raise ValueError("no host")
    return host


class _Connection(HTTPConnection):
    guard: Guard

    def _new_conn(self) -> DeadlineSocket:
        where = host_and_port(self.host, self.port)
        if self.proxy:  # the operator's own choice
            return connect(self._dns_host, self.port, f"the proxy {where}", UNGUARDED)
        return connect(self._dns_host, self.port, where, self.guard)


class _TlsConnection(_Connection, HTTPSConnection):
    pass


def _address(url: Url) -> tuple[str, int]:
    return (url.host or "").strip("[]"), url.port or _PORTS[url.scheme or ""]


def _authorization(proxy: Url | None) -> Mapping[str, str]:
    """RFC 9110 section 11.7.2."""
    if proxy is None or proxy.auth is None:
        return {}
    return {"Proxy-Authorization": f"Basic {base64.b64encode(unquote(proxy.auth).encode()).decode()}"}
