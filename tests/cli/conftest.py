import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from click.testing import CliRunner, Result
from psycopg import sql

from at_worker.cli import main
from at_worker.config import is_setting
from at_worker.store import admin
from tests import logs
from tests.conftest import _fresh
from tests.tables import Table, dsn_of

AtWorker = Callable[..., Result]


@pytest.fixture
def at_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AtWorker:
    """Run a command that ends by itself, with these settings and no others, in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    for name in filter(is_setting, list(os.environ)):
        monkeypatch.delenv(name)

    def run(*arguments: str, stdin: str | bytes | None = None, **settings: str) -> Result:
        with logs.restored():
            return CliRunner().invoke(main, arguments, env=settings, prog_name="at-worker", input=stdin)

    return run


@pytest.fixture(scope="module")
def shared_table(server_dsn: str, template: str) -> Iterator[Table]:
    """The table of a database for all tests of a module."""
    with contextmanager(_fresh)(server_dsn, template) as dsn, closing(Table(dsn)) as opened:
        yield opened


@pytest.fixture
def tasks(shared_table: Table) -> Table:
    """The same, empty: for tests that change nothing but rows."""
    shared_table.sql(
        "TRUNCATE scheduled_tasks, scheduled_tasks_paused, scheduled_tasks_presence RESTART IDENTITY"
    )
    return shared_table


@pytest.fixture
def in_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Let this process be somewhere else, until the test ends."""

    def move(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield move
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def in_utc(in_zone: Callable[[str], None]) -> None:
    in_zone("UTC")


@pytest.fixture
def login(table: Table, server_dsn: str, roles: tuple[str, ...]) -> Iterator[Callable[[str], str]]:
    """Make a login in one of the roles of sql/roles.sql; returns its address."""
    made = []

    def make(role: str) -> str:
        assert role in roles
        name = f"at_login_{secrets.token_hex(6)}"
        table.run(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'secret' IN ROLE {}").format(
            sql.Identifier(name), sql.Identifier(role)
        ))  # fmt: skip
        made.append(name)
        address = urlsplit(table.dsn)
        return f"postgresql://{name}:secret@{address.hostname}:{address.port}{address.path}"

    with closing(psycopg.connect(table.dsn, autocommit=True)) as connection:
        connection.execute(admin.roles().encode())
    yield make
    with closing(psycopg.connect(server_dsn, autocommit=True)) as connection:
        for name in made:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture
def missing_dsn(server_dsn: str) -> Iterator[str]:
    """The address of a database that is not there yet; what a test makes of it is dropped."""
    name = f"at_test_{secrets.token_hex(6)}"
    yield dsn_of(server_dsn, name)
    with closing(psycopg.connect(server_dsn, autocommit=True)) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
