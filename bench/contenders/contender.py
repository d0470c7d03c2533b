"""What every contender can do; the processes behind it are real ones, started the documented way."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pika
import psycopg

from bench.arena import Arena, Place
from bench.processes import workers

BIN = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class Contender:
    """One peer with one set of settings.

    `command` and `environment` start its worker, `app` is the module in `bench.apps` that enqueues for it.
    `drain_tasks` is how many no-op tasks last some seconds here; `puts` is how many it enqueues a second at
    least. `unfinished` counts what its store still holds; None: a broker does not tell. `processes_option` is
    what makes one command start several processes; None: the command is started several times.
    """

    name: str
    variant: str
    settings: str
    package: str
    app: str
    command: Sequence[str | Path]
    drain_tasks: int
    puts: int = 20_000
    environment: Mapping[str, str] | None = None
    unfinished: str | None = None
    processes_option: str | None = None
    needs_broker: bool = False
    tuned: bool = False

    @property
    def label(self) -> str:
        return f"{self.name}, {self.variant}"

    @property
    def version(self) -> str:
        return version(self.package)

    def unavailable(self, arena: Arena) -> str | None:
        """Why it cannot be measured here, or None."""
        if self.needs_broker and arena.no_broker is not None:
            return arena.no_broker
        try:
            version(self.package)
        except PackageNotFoundError:
            return f"{self.package} is not installed{_marker(self.package)}"
        return None

    @contextmanager
    def run(self, place: Place, processes: int = 1) -> Iterator[list[subprocess.Popen[str]]]:
        """Its worker processes, or the one that starts them."""
        environment = {**place.environment, **(self.environment or {})}
        command, commands = self.command, processes
        if processes > 1 and self.processes_option:
            command, commands = (*command, self.processes_option, str(processes)), 1
        try:
            with workers(command, place.log, environment, commands) as started:
                yield started
        finally:
            if self.needs_broker:
                _forget(place)

    def waiting(self, place: Place) -> int:
        """How many tasks its store holds that are not finished."""
        if self.unfinished is None:
            return 0
        with psycopg.connect(place.dsn, autocommit=True) as connection:
            row = connection.execute(self.unfinished.encode()).fetchone()
        return int(row[0]) if row else 0


def _forget(place: Place) -> None:
    """Delete the queues of the trial; dramatiq has two more for delayed and for dead messages."""
    with pika.BlockingConnection(pika.URLParameters(place.amqp_url)) as connection:
        for suffix in ("", ".DQ", ".XQ"):
            connection.channel().queue_delete(f"{place.name}{suffix}")


def _marker(package: str) -> str:
    """What this Python lacks for it, where the requirements say so."""
    for line in (Path(__file__).parent.parent / "requirements.txt").read_text().splitlines():
        name, _, condition = line.partition(";")
        if name.startswith(f"{package}==") and condition:
            return f": it needs {condition.strip()}, this is Python {sys.version.split()[0]}"
    return ""
