"""HTTP exchanges over kept-alive connections, each within a real total deadline and a cap on what is read."""

import http.client
import logging
import ssl
import threading
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.poolmanager import PoolManager
from urllib3.util import parse_url

from at_worker.executors.http_callback.deadlines import (
    DeadlineSocket,
    DeadlineTlsSocket,
    NoAnswer,
    connect,
    deadline,
    host_and_port,
    left,
    no_answer,
)
from at_worker.executors.http_callback.guard import UNGUARDED, Guard

# urllib3 logs whole URLs, tokens in their queries included.
logging.getLogger("urllib3").setLevel(logging.CRITICAL)

# Reading a longer body to its end costs more than a new connection does.
_WORTH_READING = 65_536
# Node and Apache close a connection after five idle seconds; a request sent just then is lost.
_LONGEST_IDLE = 4.0
# Idle connections of all threads together, so that a thousand threads do not use up the open files.
_MOST_IDLE = 512

_sending = threading.local()


@dataclass(frozen=True, slots=True)
class Request:
    """What goes out; `url` is absolute and legal as it stands."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    content: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `content` is the body as sent, from its beginning, and `whole` if that is all of it."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    whole: bool


class Transport:
    """A session of kept-alive connections for each thread that asks.

    Redirects are not followed, cookies are not kept, the environment's proxies and .netrc count for nothing.
    """

    def __init__(self, *, ca_file: str | None, proxy_url: str | None, guard: Guard, threads: int) -> None:
        self._context = ssl.create_default_context(cafile=ca_file or DEFAULT_CA_BUNDLE_PATH)
        self._context.sslsocket_class = DeadlineTlsSocket
        self._proxies = {"http": proxy_url, "https": proxy_url} if proxy_url else {}
        self._guard = guard
        self._hosts = max(1, min(8, _MOST_IDLE // threads))
        self._local = threading.local()
        self._sessions: weakref.WeakSet[_Session] = weakref.WeakSet()
        self._lock = threading.Lock()

    def exchange(self, request: Request, ends: float, most: int) -> Answer:
        """Send a request and read its answer by `ends`, with at least `most` bytes of the body.

        The answer counts from its headers on: a body that breaks off or takes too long is kept as far as it
        came. Raises NoAnswer and Refused.
        """
        _sending.guard = self._guard
        with deadline(ends):
            try:
                return self._exchange(request, max(_WORTH_READING, most))
            except (requests.RequestException, HTTPError, http.client.HTTPException, OSError) as error:
                raise no_answer(_root(error), _target(error, request.url)) from None

    def close(self) -> None:
        """Close the idle connections of all threads; those in use close when their exchange ends."""
        with self._lock:
            sessions = list(self._sessions)
        for session in sessions:
            session.close()

    def _exchange(self, request: Request, most: int) -> Answer:
        prepared = requests.PreparedRequest()
        prepared.method, prepared.url, prepared.body = request.method, request.url, request.content
        prepared.headers = CaseInsensitiveDict(request.headers)
        response = self._session().send(prepared, stream=True, timeout=left(), proxies=self._proxies)
        try:
            if response.status_code == 407 and self._proxies:
                raise NoAnswer("the proxy wants a user and password: HTTP 407")
            content, whole = _read(response, most)
        finally:
            response.close()
        return Answer(response.status_code, response.headers, content, whole)

    def _session(self) -> "_Session":
        session: _Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = _Session(self._context, self._hosts)
            with self._lock:
                self._sessions.add(session)
        return session


def ascii_host(name: str) -> str:
    """The host name as the name system knows it (IDNA 2008). Raises ValueError."""
    host = parse_url(f"http://{name}/").host
    if host is None:
        raise ValueError("no host")
    return host


def _read(response: requests.Response, most: int) -> tuple[bytes, bool]:
    content = bytearray()
    try:
        while len(content) <= most:
            piece = response.raw.read1(most + 1 - len(content), decode_content=False)
            if not piece:
                return bytes(content), True
            content += piece
    except (HTTPError, http.client.HTTPException, OSError):
        pass
    return bytes(content), False


class _Session(HTTPAdapter):
    def __init__(self, context: ssl.SSLContext, hosts: int) -> None:
        self._context = context
        super().__init__(pool_connections=hosts, pool_maxsize=1)

    def init_poolmanager(self, connections: int, maxsize: int, *args: Any, **options: Any) -> None:  # noqa: ANN401 - requests' own
        super().init_poolmanager(connections, maxsize, *args, ssl_context=self._context, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: object) -> PoolManager:
        contexts = {"ssl_context": self._context, "proxy_ssl_context": self._context}
        manager: PoolManager = super().proxy_manager_for(proxy, **contexts, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def cert_verify(self, conn: object, url: object, verify: object, cert: object) -> None:
        """Leave the context alone: requests would add its own authorities to those of HTTP_CA_FILE."""

    def request_url(self, request: requests.PreparedRequest, proxies: Mapping[str, str] | None) -> str:
        url = request.url or ""
        absolute = proxies and url.startswith("http:")
        _sending.target = url if absolute else url[url.index("/", url.index("//") + 2) :]
        target: str = _sending.target
        return target


class _FinalAnswer(http.client.HTTPResponse):
    def begin(self) -> None:
        super().begin()
        # http.client skips 100 only and would take 103 for the answer (RFC 9110 section 15.2).
        while 100 <= self.status < 200 and self.status != 101:
            self.headers = None  # type: ignore[assignment] # as before it began
            super().begin()


class _Connection(HTTPConnection):
    response_class = _FinalAnswer
    _used = 0.0

    @property
    def is_connected(self) -> bool:
        return super().is_connected and time.monotonic() - self._used < _LONGEST_IDLE

    def _new_conn(self) -> DeadlineSocket:
        where = host_and_port(self.host, self.port)
        if self.proxy:  # the operator's own choice
            return connect(self._dns_host, self.port, f"the proxy {where}", UNGUARDED)
        return connect(self._dns_host, self.port, where, _sending.guard)

    def putrequest(self, method: str, url: str, *args: Any, **options: Any) -> None:  # noqa: ANN401, ARG002 - http.client's
        self._used = time.monotonic()
        # `url` has its escapes and dots rewritten by urllib3; a receiver may have signed it as it was.
        super().putrequest(method, _sending.target, *args, **options)


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_POOLS = {"http": _Pool, "https": _TlsPool}


def _target(error: BaseException, url: str) -> str:
    parts = urlsplit(url)
    where = host_and_port(parts.hostname or "", parts.port or {"http": 80, "https": 443}[parts.scheme])
    return f"the proxy for {where}" if isinstance(error, requests.exceptions.ProxyError) else where


def _root(error: BaseException) -> BaseException:
    """The error below the wrappers of requests and urllib3, whose texts hold whole URLs."""
    while isinstance(error, requests.RequestException | HTTPError):
        inner = error.__cause__ or error.__context__ or next(iter(error.args), None)
        if not isinstance(inner, BaseException):
            break
        error = inner
    return error
