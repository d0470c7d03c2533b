"""A PostgreSQL whose data, or the log of what it writes (WAL), has a small file system to itself.

That takes namespaces, and no rights of root.
"""

import errno
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from tests.servers.postgres import SETTINGS, Postgres

PATIENCE = 60.0
# Root of a namespace may mount, and PostgreSQL refuses to be root: it gets another one within.
ROOT = ("unshare", "--user", "--map-root-user", "--mount", "--")
MOUNT = 'mount -t tmpfs -o mode=700,size="$1" tmpfs "$2" && cp -a "$3/." "$2" && shift 3 && exec "$@"'
NOBODY = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")
# Whenever the server ends, another is started, as an init system does.
AGAIN = """
trap 'kill -QUIT $server; wait $server; exit' TERM
while true; do "$@" & server=$!; wait $server; sleep 0.1; done
"""


class Disk:
    """The small file system, as it can be reached from outside of the namespace of this process."""

    def __init__(self, pid: int, path: Path) -> None:
        self._ballast = Path(f"/proc/{pid}/root{path}/ballast")

    def fill(self) -> None:
        with self._ballast.open("wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(65536))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def make_room(self) -> None:
        self._ballast.unlink()


def can_mount() -> bool:
    """Whether this machine has namespaces for whoever runs the tests; most containers have none."""
    probe = [*ROOT, "sh", "-c", "mount -t tmpfs tmpfs /tmp && exec unshare --user true"]
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


@contextmanager
def on_small_disk(server: Postgres, disk: Path, mebibytes: int) -> Iterator[None]:
    """Run a server that was stopped from a copy of its data in a file system of that size, at `disk`.

    The log of what it writes (WAL) stays outside: without room for that, PostgreSQL ends as in a crash.
    """
    data = server.cluster.data
    (data / "pg_wal").rename(disk.with_suffix(".wal"))
    (data / "pg_wal").symlink_to(disk.with_suffix(".wal"))
    with _running(server, disk, mebibytes, [*_command(server, disk)], content=data, end=signal.SIGQUIT):
        yield


@contextmanager
def with_small_wal(server: Postgres, disk: Path, mebibytes: int) -> Iterator[Disk]:
    """Run a server that was stopped with its WAL in a file system of that size, at `disk`.

    It is started again whenever it ends.
    """
    data, wal = server.cluster.data, server.cluster.data / "pg_wal"
    content = wal.rename(disk.with_suffix(".wal"))
    wal.symlink_to(disk)
    command = ["sh", "-c", AGAIN, "again", *_command(server, data)]
    with _running(server, disk, mebibytes, command, content=content, end=signal.SIGTERM) as process:
        yield Disk(process.pid, disk)


def _command(server: Postgres, data: Path) -> list[str | Path]:
    settings = {**SETTINGS, "port": str(server.port)}
    given = (f"--{name}={value}" for name, value in settings.items())
    return [*NOBODY, server.cluster.binaries / "postgres", "-D", data, *given]


@contextmanager
def _running(
    server: Postgres,
    disk: Path,
    mebibytes: int,
    command: Sequence[str | Path],
    *,
    content: Path,
    end: signal.Signals,
) -> Iterator[subprocess.Popen[bytes]]:
    disk.mkdir()
    with (
        server.cluster.log.open("ab") as log,
        subprocess.Popen(
            [*ROOT, "sh", "-c", MOUNT, "mount", f"{mebibytes}m", disk, content, *command],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            _wait_for(server, process)
            yield process
        finally:
            process.send_signal(end)
            process.wait(PATIENCE)


def _wait_for(server: Postgres, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < until:
        with suppress(psycopg.OperationalError):
            psycopg.connect(server.dsn).close()
            return
        time.sleep(0.02)
    raise AssertionError(server.cluster.log.read_text())
