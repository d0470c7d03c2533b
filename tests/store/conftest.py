"""Making a database takes longer than most of these tests: those of one module share theirs."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest

from at_worker.store.database import Database
from at_worker.store.queue import Queue
from tests.conftest import _fresh
from tests.store import ddl
from tests.tables import Table

_CLEAR = """
DO $$
DECLARE
    name text;
BEGIN
    EXECUTE format('ALTER DATABASE %I RESET ALL', current_database());
    SET LOCAL client_min_messages = warning;
    FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema$)' LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', name);
    END LOOP;
    CREATE SCHEMA public;
END $$
"""


@pytest.fixture(scope="module")
def shared(server_dsn: str, template: str) -> Iterator[Table]:
    """A table in which each test minds only its own rows."""
    with contextmanager(_fresh)(server_dsn, template) as dsn, closing(Table(dsn)) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared_dsn(server_dsn: str) -> Iterator[str]:
    yield from _fresh(server_dsn, "template1")


@pytest.fixture
def empty_dsn(shared_dsn: str) -> str:
    """The address of a database that holds nothing, once more."""
    with psycopg.connect(shared_dsn, options="-c search_path=pg_catalog") as connection:
        connection.execute(_CLEAR)
    return shared_dsn


@pytest.fixture
def database(table: Table) -> Iterator[Database]:
    opened = Database(table.settings())
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def queue(database: Database) -> Queue:
    return Queue(database, "w-1/boot", None)


@pytest.fixture(scope="session")
def new(server_dsn: str, template: str) -> ddl.Shape:
    """The shape of a new table."""
    with contextmanager(_fresh)(server_dsn, template) as dsn:
        return ddl.shape(dsn)
