"""A PgBouncer in transaction mode, at an address that stays when it is stopped and started again."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.servers import debian

PATIENCE = 20.0
# Who knows them: https://www.pgbouncer.org/config.html, and its changelog says since when.
PREPARES_SINCE = (1, 21)


class PgBouncer:
    """Lends the server connections of one database; `prepared` is how many statements it keeps for each.

    A version that keeps none is run as it is.
    """

    def __init__(self, dsn: str, directory: Path, prepared: int) -> None:
        parts = urlsplit(dsn)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = int(free.getsockname()[1])
        self.dsn = f"postgresql://anybody@127.0.0.1:{self._port}{parts.path}"
        self._program, self._environment = _program()
        self._log = directory / "pgbouncer.log"
        self._settings = directory / "pgbouncer.ini"
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self._port),
            "unix_socket_dir": "",
            "auth_type": "any",
            "pool_mode": "transaction",
            "default_pool_size": "4",
            "server_login_retry": "0.1",
            # Drops the rights of root, which it does not accept.
            **({"user": "nobody"} if os.geteuid() == 0 else {}),
            **({"max_prepared_statements": str(prepared)} if self.version >= PREPARES_SINCE else {}),
        }
        lines = [f"{name} = {value}" for name, value in settings.items()]
        server = f"host={parts.hostname} port={parts.port or 5432}"
        login = f"user='{unquote(parts.username or '')}' password='{unquote(parts.password or '')}'"
        self._settings.write_text("\n".join(["[databases]", f"* = {server} {login}", "[pgbouncer]", *lines]))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def version(self) -> tuple[int, ...]:
        told = subprocess.run(
            [self._program, "--version"], env=self._environment, capture_output=True, text=True, check=True
        ).stdout
        return tuple(map(int, told.split()[1].split(".")))

    def start(self) -> None:
        """Returns when it takes connections."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, self._settings],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + PATIENCE
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self._port)):
                return
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < until, self._log.read_text()
            time.sleep(0.01)

    def stop(self, how: signal.Signals) -> None:
        """SIGKILL ends it at once, SIGINT once no transaction is under way; versions differ in SIGTERM."""
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(PATIENCE)


def _program() -> tuple[str, dict[str, str]]:
    if installed := shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        return installed, dict(os.environ)
    root = debian.unless_installed("pgbouncer")
    return str(root / "usr/sbin/pgbouncer"), {**os.environ, "LD_LIBRARY_PATH": debian.libraries(root)}


@contextmanager
def pgbouncer(dsn: str, directory: Path, prepared: int = 0) -> Iterator[PgBouncer]:
    """One that runs before the database at `dsn`, until the end of the block."""
    pooler = PgBouncer(dsn, directory, prepared)
    pooler.start()
    try:
        yield pooler
    finally:
        pooler.stop(signal.SIGKILL)
