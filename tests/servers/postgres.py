"""PostgreSQL servers of a test's own, which stop and start as they are told, at addresses that stay."""

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

from at_worker.embedded.cluster import (
    DATABASE,
    USER,
    Cluster,
    create,
    create_database,
    find_binaries,
    hand_over,
)
from at_worker.embedded.unprivileged import unprivileged

PATIENCE = 60
# Nothing here has to survive a power cut.
SETTINGS = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}


class Postgres:
    """One server; its cluster must be there."""

    def __init__(self, cluster: Cluster, password: str) -> None:
        self.cluster = cluster
        self._password = password
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])

    @property
    def dsn(self) -> str:
        return f"postgresql://{USER}:{self._password}@127.0.0.1:{self.port}/{DATABASE}"

    def start(self, environment: Mapping[str, str] | None = None, **settings: str) -> None:
        """Returns when it lets people in; `settings` are more of PostgreSQL's own."""
        given = {**SETTINGS, "port": str(self.port), **settings}
        options = " ".join(f"-c {name}={value or repr('')}" for name, value in given.items())
        self._run("pg_ctl", "start", f"--log={self.cluster.log}", f"--options={options}", env=environment)

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Returns when it is gone; an immediate stop is a crash."""
        self._run("pg_ctl", "stop", f"--mode={mode}")

    def promote(self) -> None:
        """Make a primary of a standby."""
        self._run("pg_ctl", "promote")

    def copy(self, directory: Path) -> "Postgres":
        """A copy of it, which is stopped; not yet started."""
        directory.mkdir()
        copy = Postgres(replace(self.cluster, directory=directory), self._password)
        shutil.copytree(self.cluster.data, copy.cluster.data)
        hand_over(copy.cluster, directory)
        return copy

    def standby(self, directory: Path) -> "Postgres":
        """A copy of it, not yet started, that follows it."""
        directory.mkdir()
        copy = Postgres(replace(self.cluster, directory=directory), self._password)
        hand_over(copy.cluster, directory)
        self._run(
            "pg_basebackup",
            f"--dbname={self.dsn}",
            f"--pgdata={copy.cluster.data}",
            "--checkpoint=fast",
            "--write-recovery-conf",
        )
        return copy

    def _run(self, program: str, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        of_data = [f"--pgdata={self.cluster.data}", f"--timeout={PATIENCE}"] if program == "pg_ctl" else []
        subprocess.run(
            [*self.cluster.wrapper, self.cluster.binaries / program, *arguments, *of_data],
            cwd="/",
            env={**os.environ, **(env or {})},
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=2 * PATIENCE,
        )


@contextmanager
def postgres(directory: Path, binaries: Path | None = None) -> Iterator[Postgres]:
    """A new server that runs; at the end of the block it is stopped, if it still runs."""
    cluster = unprivileged(Cluster(directory, binaries or find_binaries()))
    password = secrets.token_urlsafe(24)
    create(cluster, password)
    hand_over(cluster, directory)
    with running(Postgres(cluster, password)) as server:
        create_database(cluster, server.port, password)
        yield server


@contextmanager
def running(server: Postgres) -> Iterator[Postgres]:
    """Start it; at the end of the block it is stopped, if it still runs."""
    server.start()
    try:
        yield server
    finally:
        if server.cluster.pid_file.exists():
            server.stop("immediate")
