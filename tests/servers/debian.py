"""Programs as the distribution packages them, unpacked into a per-user cache, with or without root."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

PACKAGES = ("rabbitmq-server", "pgbouncer", "libfaketime", "prometheus")
MOST = 300  # seconds for one step of the fetch

# Of all that apt-get lists for an empty system: the programs, their runtime, and what small images lack.
WANTED = (
    *PACKAGES,
    "erlang-", "libaudit1", "libc-ares2", "libcap-ng0", "libcap2", "libcares2", "libevent", "libgcc-s1",
    "libgcrypt", "libgpg-error", "liblz4", "liblzma", "libpam0g", "libsctp", "libssl", "libstdc++",
    "libsystemd0", "libtinfo", "libzstd", "zlib1g",
)  # fmt: skip


class Unavailable(Exception):
    """The packages cannot be had; the message is one line."""


def unpacked() -> Path:
    """The root of the unpacked packages, fetched once per user and machine. Raises Unavailable."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "at-worker-tests"
    # Named by what is in it: another list is another fetch.
    home = cache / "+".join(PACKAGES)
    root = home / "root"
    try:
        home.mkdir(parents=True, exist_ok=True)
        with (home / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not root.exists():
                _fetch(home / "unfinished", root)
    except OSError as error:
        raise Unavailable(f"its cache {home} cannot be written ({error.strerror or error})") from None
    return root


def unless_installed(program: str) -> Path:
    """The same, for what is not there already. Raises Unavailable."""
    try:
        return unpacked()
    except Unavailable as error:
        raise Unavailable(f"no {program} for the tests: {error}; once it is installed it is used") from None


def libraries(root: Path) -> str:
    """The LD_LIBRARY_PATH of the programs below a root."""
    return ":".join(str(path) for path in (*root.glob("usr/lib/*-linux-gnu"), *root.glob("lib/*-linux-gnu")))


def _fetch(work: Path, root: Path) -> None:
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise Unavailable(f"this machine has no {program} to fetch one with")
    # What an interrupted fetch left; the lock says that nobody is at work on it.
    shutil.rmtree(work, ignore_errors=True)
    for directory in ("state/lists/partial", "cache/archives/partial", "packages", "root"):
        (work / directory).mkdir(parents=True)
    (work / "status").touch()
    # An empty system of its own: nothing is installed, no lock is shared, root is not needed.
    apt = [
        "apt-get", "-qq",
        "-o", f"Dir::State={work / 'state'}", "-o", f"Dir::State::status={work / 'status'}",
        "-o", f"Dir::Cache={work / 'cache'}", "-o", "APT::Sandbox::User=", "-o", "Debug::NoLocking=1",
        "-o", "Acquire::Retries=2", "-o", "Acquire::http::Timeout=20", "-o", "Acquire::https::Timeout=20",
    ]  # fmt: skip
    _run([*apt, "update"], work)
    plan = _run([*apt, "--simulate", "--no-install-recommends", "install", *PACKAGES], work)
    names = [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]
    _run([*apt, "download", *(name for name in names if name.startswith(WANTED))], work / "packages")
    for package in sorted((work / "packages").glob("*.deb")):
        _run(["dpkg-deb", "--extract", str(package), str(work / "root")], work)
    _relocate(work / "root", root)
    # The rename is what makes a fetch complete.
    (work / "root").rename(root)
    shutil.rmtree(work, ignore_errors=True)


def _relocate(unpacked: Path, root: Path) -> None:
    """Debian's `erl` scripts hold the absolute path of their installation."""
    erlang = Path("usr/lib/erlang")
    for script in ((unpacked / erlang / "bin/erl"), *(unpacked / erlang).glob("erts-*/bin/erl")):
        text = script.read_text().replace(f"ROOTDIR=/{erlang}", f"ROOTDIR={root / erlang}")
        script.unlink()
        script.write_text(text)
        script.chmod(0o755)


def _run(command: list[str], directory: Path) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            check=True,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=MOST,
        )
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip().splitlines()
        raise Unavailable(f"{command[0]} failed ({said[-1] if said else error.returncode})") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{command[0]} did not end within {MOST} s") from None
    return done.stdout
