"""A PostgreSQL whose data has a small file system to itself; that takes namespaces, and no rights of root."""

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from tests.servers.postgres import SETTINGS, Postgres

PATIENCE = 60.0
# Root of a namespace may mount, and PostgreSQL refuses to be root: it gets another one within.
ROOT = ("unshare", "--user", "--map-root-user", "--mount", "--")
MOUNT = 'mount -t tmpfs -o mode=700,size="$1" tmpfs "$2" && cp -a "$3/." "$2" && shift 3 && exec "$@"'
NOBODY = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")


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
    disk.mkdir()
    data = server.cluster.data
    (data / "pg_wal").rename(disk.with_suffix(".wal"))
    (data / "pg_wal").symlink_to(disk.with_suffix(".wal"))
    settings = {**SETTINGS, "port": str(server.port)}
    with server.cluster.log.open("ab") as log, subprocess.Popen(
        [
            *ROOT, "sh", "-c", MOUNT, "mount", f"{mebibytes}m", disk, data,
            *NOBODY, server.cluster.binaries / "postgres", "-D", disk,
            *(f"--{name}={value}" for name, value in settings.items()),
        ],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    ) as process:  # fmt: skip
        try:
            _wait_for(server, process)
            yield
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(PATIENCE)


def _wait_for(server: Postgres, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < until:
        with suppress(psycopg.OperationalError):
            psycopg.connect(server.dsn).close()
            return
        time.sleep(0.02)
    raise AssertionError(server.cluster.log.read_text())
