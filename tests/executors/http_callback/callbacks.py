"""What the tests of `http_callback` share."""

import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import trustme

from at_worker import config
from at_worker.executors.http_callback import HttpCallback
from at_worker.jsontext import Json
from at_worker.outcome import Outcome
from at_worker.plugin import Attempt

UID = "6f1c5a52-8f0e-4d53-9a3a-0c9d6f1f2a11"
SCHEDULED = datetime(2030, 5, 17, 9, 30, 0, 123_456, tzinfo=UTC)


def attempt(seconds: float = 10, number: int = 1) -> Attempt:
    """An attempt that has so many seconds."""
    return Attempt(42, UID, number, SCHEDULED, {}, None, time.monotonic() + seconds, threading.Event())


@contextmanager
def executor(**variables: str) -> Iterator[HttpCallback]:
    """An executor with these settings."""
    callback = HttpCallback(config.load(variables, ()))
    try:
        yield callback
    finally:
        callback.close()


def call(callback: HttpCallback, payload: Mapping[str, Json], seconds: float = 10) -> Outcome:
    """Parse a payload and make one attempt."""
    return callback.execute(callback.parse(payload), attempt(seconds))


def once(payload: Mapping[str, Json], seconds: float = 10, **variables: str) -> Outcome:
    """The same with an executor of its own."""
    with executor(**variables) as callback:
        return call(callback, payload, seconds)


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, directory: Path) -> None:
        self._ca = trustme.CA()
        self.ca_file = str(directory / "ca.pem")
        self._ca.cert_pem.write_to_path(self.ca_file)

    def server(self, *names: str, not_after: datetime | None = None) -> ssl.SSLContext:
        """What a server of these names needs."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*names, not_after=not_after).configure_cert(context)
        return context
