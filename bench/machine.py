"""What the run ran on."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.arena import Arena

PACKAGES = (
    "at-worker", "pgqueuer", "oban", "procrastinate", "celery", "dramatiq",
    "psycopg", "asyncpg", "requests", "pika", "aiosmtplib",
)  # fmt: skip


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


def versions(arena: Arena) -> dict[str, str]:
    """Of all that takes part."""
    found = {"Python": platform.python_version(), "PostgreSQL": arena.postgres_version}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
