"""What the run ran on."""

import os
import platform
import shlex
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.results import Circumstances

PACKAGES = (
    "at-worker", "pgqueuer", "oban", "procrastinate", "celery", "dramatiq",
    "psycopg", "asyncpg", "requests", "pika", "aiosmtplib",
)  # fmt: skip

PRIVATE = ("--dsn", "--out")


def machine() -> dict[str, str]:
    """Processor, memory and system; no host name."""
    processor = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": str(os.cpu_count()),
        "processor": processor[0] if processor else platform.machine(),
        "memory": f"{memory:.1f} GiB",
        "system": f"{platform.system()} {platform.release()}",
    }


def circumstances() -> Circumstances:
    """Of a measurement that is about to begin."""
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Circumstances(date, command(sys.argv[1:]), busy(), machine(), versions())


def command(arguments: Sequence[str]) -> str:
    """What was asked for, without what is only of this machine, or secret."""
    told, rest = ["python", "-m", "bench"], iter(arguments)
    for word in rest:
        name, equals, _ = word.partition("=")
        if name not in PRIVATE:
            told.append(word)
        elif not equals:
            next(rest, None)
    return shlex.join(told)


def versions() -> dict[str, str]:
    """Of the Python packages that take part."""
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def busy(seconds: float = 1.0) -> float:
    """How much of all cores is taken, in %, by whatever runs besides; other guests of the host included."""
    before = _ticks()
    time.sleep(seconds)
    total, idle = (after - begun for after, begun in zip(_ticks(), before, strict=True))
    return 100 * (1 - idle / total)


def _ticks() -> tuple[int, int]:
    """All processor time since the start of the machine, and how much of it was idle."""
    fields = [int(field) for field in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    return sum(fields), fields[3] + fields[4]
