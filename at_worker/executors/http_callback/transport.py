"""HTTP exchanges over kept-alive connections, each within a real total deadline and a cap on what is read."""

import http.client
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message

from at_worker.executors.http_callback.deadlines import NoAnswer, deadline, no_answer
from at_worker.executors.http_callback.dialer import Dialer, place
from at_worker.executors.http_callback.guard import Guard
from at_worker.executors.http_callback.idle import IdleConnections

# Reading a longer body to its end costs more than a new connection does.
_WORTH_READING = 65_536


@dataclass(frozen=True, slots=True)
class Request:
    """What goes out; `url` is absolute, and it and the headers are legal as they stand."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    content: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `content` is the body as sent, from its beginning, and `whole` if that is all of it."""

    status: int
    headers: Message
    content: bytes
    whole: bool


class Transport:
    """Exchanges requests for answers; all threads share it.

    Redirects are not followed, cookies are not kept, the environment's proxies and .netrc count for nothing.
    """

    def __init__(self, *, ca_file: str | None, proxy_url: str | None, guard: Guard) -> None:
        self._dialer = Dialer(ca_file=ca_file, proxy_url=proxy_url, guard=guard)
        self._idle = IdleConnections()

    def exchange(self, request: Request, ends: float, most: int) -> Answer:
        """Send a request and read its answer by `ends`, with at least `most` bytes of the body.

        The answer counts from its headers on: a body that breaks off or takes too long is kept as far as it
        came. Raises NoAnswer and Refused.
        """
        origin = _origin(request)
        with deadline(ends):
            message = self.message(request)
            sock = self._idle.take(origin) or self._dialer.open(origin)
            reusable = False
            try:
                answer, reusable = _exchange(sock, request.method, message, max(_WORTH_READING, most))
            except (http.client.HTTPException, OSError) as error:
                raise no_answer(error, place(origin)) from None
            finally:
                if reusable:
                    self._idle.keep(origin, sock)
                else:
                    sock.close()
        if answer.status == 407 and self._dialer.forwards(origin):
            raise NoAnswer("the proxy wants a user and password: HTTP 407")
        return answer

    def message(self, request: Request) -> bytes:
        """The request as it goes over the wire."""
        origin = _origin(request)
        target, headers = request.url.removeprefix(origin), request.headers
        if self._dialer.forwards(origin):
            target, headers = request.url, {**headers, **self._dialer.proxy_headers}
        lines = [
            f"{request.method} {target} HTTP/1.1",
            f"Host: {origin.partition('://')[2]}",
            "Accept-Encoding: identity",
            *(f"{name}: {value}" for name, value in headers.items()),
            "\r\n",
        ]
        return "\r\n".join(lines).encode("latin-1") + (request.content or b"")

    def close(self) -> None:
        """Close the idle connections."""
        self._idle.close()


def _origin(request: Request) -> str:
    return request.url[: request.url.index("/", len("https://"))]


class _FinalAnswer(http.client.HTTPResponse):
    def begin(self) -> None:
        super().begin()
        # http.client skips 100 only and would take 103 for the answer (RFC 9110 section 15.2).
        while 100 <= self.status < 200 and self.status != 101:
            self.headers = None  # type: ignore[assignment] # as before it began
            super().begin()


def _exchange(sock: socket.socket, method: str, message: bytes, most: int) -> tuple[Answer, bool]:
    """The answer, and whether the connection is fit for another exchange."""
    # A server may answer and close before it has read everything.
    with suppress(BrokenPipeError, ConnectionResetError):
        sock.sendall(message)
    response = _FinalAnswer(sock, method=method)
    try:
        response.begin()
        content, whole = _read(response, most)
    finally:
        response.close()
    return Answer(response.status, response.headers, content, whole), whole and not response.will_close


def _read(response: http.client.HTTPResponse, most: int) -> tuple[bytes, bool]:
    content = bytearray()
    with suppress(http.client.HTTPException, OSError):
        while len(content) <= most:
            piece = response.read1(most + 1 - len(content))
            if not piece:
                return bytes(content), not response.length
            content += piece
    return bytes(content), False
