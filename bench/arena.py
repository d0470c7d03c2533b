"""The servers: a PostgreSQL for each measurement, one RabbitMQ for all, and a fresh place for each trial."""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from at_worker import embedded
from at_worker.store import admin
from bench import marks
from tests.servers.rabbitmq import NoBroker, broker
from tests.tables import dsn_of


@dataclass(frozen=True, slots=True)
class Place:
    """Where one trial happens: a database of its own, a queue name of its own, a directory, the marks."""

    name: str
    dsn: str
    amqp_url: str
    directory: Path
    marks: marks.Marks

    @property
    def log(self) -> Path:
        return self.directory / "log"

    @property
    def environment(self) -> dict[str, str]:
        """What worker and producer processes are told."""
        return {
            "BENCH_DSN": self.dsn,
            "BENCH_AMQP_URL": self.amqp_url,
            "BENCH_QUEUE": self.name,
            marks.VARIABLE: str(self.directory / "marks"),
        }


@dataclass(frozen=True, slots=True)
class RabbitMQ:
    """The broker of the run, or why there is none."""

    url: str = ""
    missing: str | None = None


class Arena:
    """The servers of one measurement, and fresh places on them."""

    def __init__(self, server_dsn: str, rabbitmq: RabbitMQ, directory: Path) -> None:
        self.server_dsn = server_dsn
        self.amqp_url = rabbitmq.url
        self.no_broker = rabbitmq.missing
        self.directory = directory
        self._admin = psycopg.connect(server_dsn, autocommit=True)

    def number(self, query: sql.Composed) -> int:
        """A number, asked outside of the databases of the trials."""
        return int(self._admin.execute(query).fetchall()[0][0])

    @property
    def postgres_version(self) -> str:
        return str(self._admin.info.parameter_status("server_version"))

    @contextmanager
    def database(self, *, schema: bool = False) -> Iterator[str]:
        """The address of a fresh database, with at-worker's table if `schema` says so."""
        name = f"bench_{secrets.token_hex(4)}"
        self._admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            dsn = dsn_of(self.server_dsn, name)
            if schema:
                with psycopg.connect(dsn, autocommit=True) as connection:
                    connection.execute(admin.ddl().encode())
            yield dsn
        finally:
            self._admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    @contextmanager
    def place(self, slots: int) -> Iterator[Place]:
        """A fresh place whose marks have room for so many tasks."""
        with self.database() as dsn:
            name = dsn.rpartition("/")[2]
            directory = self.directory / name
            directory.mkdir()
            shared = marks.create(directory / "marks", slots)
            yield Place(name, dsn, self.amqp_url, directory, shared)

    def settle_down(self) -> None:
        """Write what earlier trials left in memory now, and not during the next one."""
        self._admin.execute("CHECKPOINT")

    def close(self) -> None:
        self._admin.close()


@contextmanager
def open_broker() -> Iterator[RabbitMQ]:
    """One broker for the whole run; a missing one costs only the trials that need it."""
    with ExitStack() as stack:
        try:
            found = RabbitMQ(stack.enter_context(broker()).url)
        except NoBroker as error:
            found = RabbitMQ(missing=str(error))
        yield found


@contextmanager
def open_arena(rabbitmq: RabbitMQ, dsn: str | None) -> Iterator[Arena]:
    """The place of one measurement; PostgreSQL is embedded unless `dsn` names one."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="at-worker-bench-")))
        # The server may run as somebody else.
        directory.chmod(0o755)
        server = dsn or stack.enter_context(embedded.serve(directory / "postgres"))
        arena = Arena(server, rabbitmq, directory)
        stack.callback(arena.close)
        yield arena
