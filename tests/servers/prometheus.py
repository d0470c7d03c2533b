"""A real Prometheus, as the distribution packages it, on a loopback port and with its data in a directory."""

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.servers import debian
from tests.servers.rabbitmq import _free_ports

PATIENCE = 60.0


def program(name: str) -> str:
    """The path of `prometheus` or `promtool`. Raises debian.Unavailable."""
    if installed := shutil.which(name):
        return installed
    return str(debian.unless_installed(name) / "usr/bin" / name)


class Prometheus:
    """A running server."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def ask(self, path: str, **parameters: str) -> Any:  # noqa: ANN401 - JSON
        """What the API answers. Raises AssertionError with the server's words where that is an error."""
        url = f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - always http
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def query(self, expression: str) -> list[Any]:
        """The series that an expression gives now."""
        found: list[Any] = self.ask("query", query=expression)["result"]
        return found

    def is_ready(self) -> bool:
        """Whether it answers questions yet."""
        try:
            urllib.request.urlopen(f"{self._url}/-/ready", timeout=10).close()  # noqa: S310 - always http
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False
        return True


@contextmanager
def prometheus(directory: Path, config: str) -> Iterator[Prometheus]:
    """A server with this configuration, in a directory that has nothing else in it."""
    (port,) = _free_ports(1)
    (directory / "prometheus.yml").write_text(config)
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        server = Prometheus(port)
        until = time.monotonic() + PATIENCE
        while not server.is_ready():
            if process.poll() is not None or time.monotonic() > until:
                raise AssertionError((directory / "log").read_text())
            time.sleep(0.05)
        yield server
    finally:
        process.kill()
        process.wait()
