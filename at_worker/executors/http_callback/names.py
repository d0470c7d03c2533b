"""Name resolution that comes back in time."""

import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, TypeAlias

Addresses: TypeAlias = Sequence[tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]]

# A lookup that hangs outlives the attempt that asked; so many threads may hang before new names are refused.
MOST_LOOKUPS = 1000

_lookups: dict[tuple[str, int], Future[Addresses]] = {}
_lock = threading.Lock()


class TooManyLookups(Exception):
    """So many name lookups are hanging that no further one is begun."""


def resolve(host: str, port: int, seconds: float) -> Addresses:
    """Resolve a name for TCP. Raises TimeoutError, TooManyLookups, or what the resolver raises: OSError,
    UnicodeError.

    getaddrinfo takes no timeout and cannot be interrupted, so it runs in a thread of its own, which may
    outlive the caller's patience; those who ask for the same name meanwhile share that thread.
    """
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return _lookup(host, port).result(seconds)


def _lookup(host: str, port: int) -> Future[Addresses]:
    key = host, port
    with _lock:
        if key in _lookups:
            return _lookups[key]
        if len(_lookups) >= MOST_LOOKUPS:
            raise TooManyLookups(f"{len(_lookups)} name lookups are hanging")
        lookup: Future[Addresses] = Future()
        threading.Thread(target=_look_up, args=(host, port), name=f"resolve {host}", daemon=True).start()
        _lookups[key] = lookup
        return lookup


def _look_up(host: str, port: int) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        _end(host, port).set_exception(error)
    else:
        _end(host, port).set_result(found)


def _end(host: str, port: int) -> Future[Addresses]:
    with _lock:
        return _lookups.pop((host, port))
