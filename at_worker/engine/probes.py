"""`/healthz` and `/readyz` for orchestrators, and what else one may read on their port."""

import logging
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from at_worker.config import ConfigError
from at_worker.text import one_line

logger = logging.getLogger(__name__)

PLAIN = "text/plain; charset=utf-8"

Probe = Callable[[], str | None]


@dataclass(frozen=True, slots=True)
class Page:
    """What a path shows."""

    content_type: str
    content: bytes


class Probes:
    """A small HTTP server; each probe returns None when all is well, else the reason for a 503."""

    def __init__(
        self,
        host: str,
        port: int,
        probes: Mapping[str, Probe],
        pages: Mapping[str, Callable[[], Page]] | None = None,
    ) -> None:
        try:
            self._server = _Server((host, port), _handler(probes, pages or {}))
        except OSError as error:
            why = error.strerror or str(error)
            raise ConfigError([f"METRICS_PORT: nothing can listen on {host}:{port} ({why})"]) from None
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="probes", daemon=True
        )

    @property
    def port(self) -> int:
        return self._server.server_port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Log a surprise as one line: the standard library would print its traceback past the log."""
        error = sys.exception()
        if error is None or isinstance(error, ConnectionError):
            return  # who asked is gone
        where = traceback.extract_tb(error.__traceback__)[-1]
        logger.error(
            "Surprise while a probe was answered, at %s:%d: %s", where.filename, where.lineno, one_line(error)
        )


def _handler(
    probes: Mapping[str, Probe], pages: Mapping[str, Callable[[], Page]]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path in pages:
                self._answer(200, pages[path]())
            elif path not in probes:
                self._say(404, "try " + ", ".join([*probes, *pages]))
            elif reason := probes[path]():
                self._say(503, reason)
            else:
                self._say(200, "ok")

        do_HEAD = do_GET  # noqa: N815 - the name is the standard library's

        def _say(self, status: int, text: str) -> None:
            self._answer(status, Page(PLAIN, f"{text}\n".encode()))

        def _answer(self, status: int, page: Page) -> None:
            self.send_response(status)
            self.send_header("Content-Type", page.content_type)
            self.send_header("Content-Length", str(len(page.content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(page.content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
            """Probes come every few seconds; they are not news."""

    return Handler
