"""The servers and databases that tests share."""

import os
import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings
from psycopg import sql

from at_worker import embedded
from at_worker.store import admin
from tests.servers.postgres import postgres
from tests.servers.rabbitmq import Broker, External
from tests.servers.rabbitmq import broker as running_broker
from tests.tables import Table, dsn_of

# The same examples for the same code, so that a failure is the change's; `make fuzz` tries others, and more.
settings.register_profile("fuzz", settings.get_profile("ci"), derandomize=False, max_examples=1000)
settings.load_profile("ci")

ROLES = ("at_producer", "at_monitor", "at_worker", "at_owner")
# Who was killed may have sent a statement that has not begun: only when he is gone, nothing comes afterwards.
EMPTY = """
DO $$ BEGIN
    PERFORM pg_terminate_backend(pid, 10000) FROM pg_stat_activity
      WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid();
    TRUNCATE scheduled_tasks, scheduled_tasks_paused, scheduled_tasks_attempts, scheduled_tasks_presence
             RESTART IDENTITY;
END $$
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of tests/chaos; pytest reads them only here, at the root of all tests."""
    group = parser.getgroup("chaos")
    group.addoption("--chaos-seed", type=int, help="repeat the same faults")
    group.addoption("--chaos-size", type=float, default=1.0, help="how many times longer the experiments are")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "alters: changes more of its database than rows")


@pytest.fixture(scope="session")
def server_dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL for the whole run: AT_TEST_DATABASE_URL, or an embedded one that ends with the run.

    AT_TEST_POSTGRES names the directory of other programs for the latter, as `make versions` does.
    """
    if given := os.environ.get("AT_TEST_DATABASE_URL"):
        yield given
        return
    if programs := os.environ.get("AT_TEST_POSTGRES"):
        with postgres(tmp_path_factory.mktemp("postgres"), Path(programs)) as server:
            yield server.dsn
        return
    with embedded.serve(Path(tmp_path_factory.mktemp("postgres"))) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            # Nothing here has to survive a power cut.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("ALTER SYSTEM SET full_page_writes = off")
            connection.execute("SELECT pg_reload_conf()")
        yield dsn


@pytest.fixture(scope="session")
def template(server_dsn: str) -> Iterator[str]:
    """The name of a database with the schema applied, to copy for each test."""
    name = f"at_template_{secrets.token_hex(4)}"
    with closing(psycopg.connect(server_dsn, autocommit=True)) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        with psycopg.connect(dsn_of(server_dsn, name), autocommit=True) as inside:
            inside.execute(admin.ddl().encode())
        yield name
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def roles(server_dsn: str) -> Iterator[tuple[str, ...]]:
    """Who applies sql/roles.sql makes roles of the whole server: those that the run made go again."""
    with closing(psycopg.connect(server_dsn, autocommit=True)) as connection:
        there = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
        yield ROLES
        for role in set(ROLES) - there:
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


@pytest.fixture
def empty_dsn(server_dsn: str) -> Iterator[str]:
    """The address of a fresh database without the schema."""
    yield from _fresh(server_dsn, "template1")


@pytest.fixture
def fresh_dsn(server_dsn: str, template: str) -> Iterator[str]:
    """The address of a fresh database with the schema."""
    yield from _fresh(server_dsn, template)


@pytest.fixture
def dsn(fresh_dsn: str) -> str:
    """The database of a test: a fresh one, unless its module or its directory says that another will do."""
    return fresh_dsn


@pytest.fixture(scope="module")
def module_dsn(server_dsn: str, template: str) -> Iterator[str]:
    """The same for all tests of a module, which take back what they did."""
    yield from _fresh(server_dsn, template)


@pytest.fixture
def emptied_dsn(request: pytest.FixtureRequest) -> str:
    """The same without rows and without whom the test before has left; a fresh one for who `alters` it."""
    if request.node.get_closest_marker("alters"):
        return str(request.getfixturevalue("fresh_dsn"))
    dsn = str(request.getfixturevalue("module_dsn"))
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(EMPTY)
    return dsn


@pytest.fixture
def table(dsn: str) -> Iterator[Table]:
    """The table of a fresh database, as people use it."""
    with closing(Table(dsn)) as opened:
        yield opened


def _fresh(server_dsn: str, template: str) -> Iterator[str]:
    name = f"at_test_{secrets.token_hex(6)}"
    with closing(psycopg.connect(server_dsn, autocommit=True)) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )
        yield dsn_of(server_dsn, name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker | External]:
    """A RabbitMQ for the whole run: AT_TEST_AMQP_URL, or one that is fetched and started."""
    with running_broker() as broker:
        yield broker
