"""The keeper: a process that runs PostgreSQL for as long as its standard input stays open.

The owner holds the other end and never writes. However the owner ends, even by SIGKILL, the kernel closes
that end, and the keeper stops the server: nothing is left behind.
"""

import fcntl
import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from at_worker.embedded.cluster import (
    DATABASE,
    START_TIMEOUT,
    USER,
    Cluster,
    EmbeddedError,
    create,
    create_database,
    find_binaries,
    postmaster,
    start,
    stop,
    stop_orphan,
)
from at_worker.embedded.unprivileged import unprivileged


def keep(directory: Path) -> None:
    """Serve the cluster until the owner is gone, or tell the address of the server that is there already."""
    # The user that the server runs as may have to pass through the directory; every file in it is private.
    directory.mkdir(mode=0o711, parents=True, exist_ok=True)
    os.umask(0o077)
    cluster = unprivileged(Cluster(directory, find_binaries()))
    with (directory / "lock").open("a+") as lock:
        if not _is_ours(cluster, lock):
            _tell(dsn=(directory / "dsn").read_text())
            return
        stop_orphan(cluster)
        port, password = _address(cluster)
        if not cluster.data.exists():
            create(cluster, password)
        server = start(cluster, port)
        try:
            create_database(cluster, port, password)
            lock.truncate(0)
            lock.write(str(server.pid))  # from here on it can be shared
            lock.flush()
            _tell(dsn=(directory / "dsn").read_text())
            while server.poll() is None and not _owner_is_gone(0.5):
                pass
        finally:
            stop(server)


def _is_ours(cluster: Cluster, lock: IO[str]) -> bool:
    """True once we hold the lock; False when another keeper's server is there to be shared."""
    end = time.monotonic() + START_TIMEOUT
    while time.monotonic() < end:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if postmaster(cluster) == (_served(lock), "ready"):
                return False
        else:
            return True
        if _owner_is_gone(0.05):
            sys.exit()
    raise EmbeddedError(f"another process holds {lock.name}, but its server does not become ready")


def _served(lock: IO[str]) -> int:
    """Process id of the last server that was ready, its database included."""
    lock.seek(0)
    return int(lock.read() or 0)


def _address(cluster: Cluster) -> tuple[int, str]:
    """Port and password, the same as last time where possible, so that a pasted address stays good."""
    file = cluster.directory / "dsn"
    if file.exists():
        known = urlsplit(file.read_text())
        port, password = known.port or 0, known.password or ""
    elif cluster.data.exists():
        raise EmbeddedError(f"{file}, which holds the password of the database beside it, is missing")
    else:
        port, password = 0, secrets.token_urlsafe(24)
    port = _free_port(port)
    draft = file.with_suffix(".new")
    draft.write_text(f"postgresql://{USER}:{password}@127.0.0.1:{port}/{DATABASE}")
    draft.replace(file)
    return port, password


def _free_port(wish: int) -> int:
    for port in (wish, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as PostgreSQL does
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise EmbeddedError("127.0.0.1 has no free port")


def _owner_is_gone(timeout: float) -> bool:
    return bool(select.select([sys.stdin], [], [], timeout)[0])


def _tell(**answer: str) -> None:
    with suppress(BrokenPipeError):  # the owner is gone, which the caller is about to see
        os.write(sys.stdout.fileno(), json.dumps(answer).encode() + b"\n")


def main() -> None:
    """Keep the server of the directory named by the first argument."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # the owner may need the database for its own shutdown
    try:
        keep(Path(sys.argv[1]))
    except (EmbeddedError, OSError, subprocess.SubprocessError) as error:
        _tell(error=str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
