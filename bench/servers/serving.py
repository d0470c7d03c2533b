"""Starts the servers of this package, with a file of arrivals for each."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import marks
from bench.processes import Ended, running, tail


@dataclass(frozen=True, slots=True)
class Server:
    """A running server; `arrivals` holds when each request came, in order."""

    port: int
    arrivals: marks.Marks


@contextmanager
def serving(module: str, directory: Path, slots: int, *arguments: str) -> Iterator[Server]:
    """The server of `bench.servers.MODULE`."""
    file = directory / f"{module}.arrivals"
    arrivals = marks.create(file, slots)
    log = directory / f"{module}.log"
    command = [sys.executable, "-m", f"bench.servers.{module}", *arguments]
    with running(command, log, {marks.VARIABLE: str(file)}) as process:
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise Ended(f"{module} server: {tail(log)}")
        yield Server(int(line), arrivals)
