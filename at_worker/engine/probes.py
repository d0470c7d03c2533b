"""`/healthz` and `/readyz` for orchestrators."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from at_worker.config import ConfigError

Probe = Callable[[], str | None]


class Probes:
    """A small HTTP server; each probe returns None when all is well, else the reason for a 503."""

    def __init__(self, host: str, port: int, probes: dict[str, Probe]) -> None:
        try:
            self._server = ThreadingHTTPServer((host, port), _handler(probes))
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


def _handler(probes: dict[str, Probe]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            probe = probes.get(self.path.partition("?")[0])
            if probe is None:
                self._answer(404, "try " + ", ".join(probes))
            elif reason := probe():
                self._answer(503, reason)
            else:
                self._answer(200, "ok")

        do_HEAD = do_GET  # noqa: N815 - the name is the standard library's

        def _answer(self, status: int, text: str) -> None:
            body = f"{text}\n".encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
            """Probes come every few seconds; they are not news."""

    return Handler
