"""Sockets that know their deadline: a server may drip, hang or not read, its caller comes back in time."""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from at_worker.executors.http_callback.guard import Guard
from at_worker.executors.http_callback.names import Addresses, TooManyLookups, resolve
from at_worker.text import clip, one_line

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_TOLERANCE = 0.01  # seconds

_exchange = threading.local()


class NoAnswer(Exception):
    """No answer came; the text says why, in one line without secrets."""


class Unreachable(NoAnswer):
    """No connection came about."""


@contextmanager
def deadline(at: float) -> Iterator[None]:
    """Bound all that this thread's sockets do inside by `at`, an instant of `time.monotonic()`."""
    _exchange.started, _exchange.deadline = time.monotonic(), at
    try:
        yield
    finally:
        del _exchange.started, _exchange.deadline


def left() -> float:
    """Seconds until the deadline of this thread. Raises TimeoutError when there are none."""
    seconds: float = _exchange.deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


class DeadlineSocket(socket.socket):
    """A socket whose every wait ends at the deadline of the thread that waits, to a hundredth of a second."""

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        self._bound()
        return super().recv(buflen, flags)

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int | None = None, flags: int = 0) -> int:
        self._bound()
        return super().recv_into(buffer, nbytes or 0, flags)

    def send(self, data: "ReadableBuffer", flags: int = 0) -> int:
        self._bound()
        return super().send(data, flags)

    def sendall(self, data: "ReadableBuffer", flags: int = 0) -> None:
        self._bound()
        super().sendall(data, flags)

    def _bound(self) -> None:
        seconds = left()
        # Each change is a system call, at which another thread takes the interpreter.
        if abs(seconds - (self.gettimeout() or 0.0)) > _TOLERANCE:
            self.settimeout(seconds)


class DeadlineTlsSocket(DeadlineSocket, ssl.SSLSocket):
    """The same with TLS inside; `SSLContext.sslsocket_class` makes these."""

    def do_handshake(self, block: bool = False) -> None:
        self._bound()
        super().do_handshake(block)


def connect(host: str, port: int, where: str, guard: Guard) -> DeadlineSocket:
    """Connect to the first address of `host` that `guard` admits and that answers; they share the time left.

    Raises Unreachable, which calls the target `where`, and Refused.
    """
    addresses = guard.admit(host, _addresses(host, port, where))
    why = "its name has no address"
    for position, (family, kind, protocol, _, address) in enumerate(addresses):
        try:
            share = left() / (len(addresses) - position)
            return _connected(DeadlineSocket(family, kind, protocol), address, share)
        except TimeoutError:
            why = f"no answer within {_limit()}"
        except OSError as error:
            why = error.strerror or str(error)
    raise Unreachable(f"cannot connect to {where}: {why}")


def _connected(sock: DeadlineSocket, address: Any, seconds: float) -> DeadlineSocket:  # noqa: ANN401 - by family
    try:
        # Nagle's algorithm would hold back the end of what does not fit into one segment.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(seconds)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _addresses(host: str, port: int, where: str) -> Addresses:
    try:
        return resolve(host, port, left())
    except TimeoutError:
        why = f"no answer within {_limit()}"
    except TooManyLookups as error:
        raise NoAnswer(f"cannot resolve the name of {where}: {error}") from None
    except UnicodeError as error:
        why = str(error)
    except OSError as error:
        why = error.strerror or str(error)
    raise Unreachable(f"cannot resolve the name of {where}: {why}")


def no_answer(error: BaseException, where: str) -> NoAnswer:
    """Say what an exchange with `where` ended with."""
    match error:
        case TimeoutError():
            why = f" did not answer within {_limit()}"
        case ssl.SSLCertVerificationError(verify_message=reason):
            why = f": certificate verify failed: {reason}"
        case ssl.SSLError(reason=reason):
            why = f": TLS failed: {(reason or 'broken off').replace('_', ' ').lower()}"
        case http.client.RemoteDisconnected():
            why = " closed the connection without an answer"
        case http.client.HTTPException():
            why = f" sent no HTTP answer: {clip(one_line(error), 200)}"
        case OSError(strerror=str(reason)):
            why = f" broke the connection: {reason}"
        case OSError(args=(str(reason),)):  # a proxy's answer to CONNECT
            why = f": {clip(' '.join(reason.split()), 200)}"
        case _:
            why = f": the exchange failed ({type(error).__name__})"
    return NoAnswer(where + why)


def host_and_port(host: str, port: int | None) -> str:
    """The two as people write them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _limit() -> str:
    return f"{round(max(_exchange.deadline - _exchange.started, 0), 1):g} s"
