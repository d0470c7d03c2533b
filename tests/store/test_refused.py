"""Tables that the file does not upgrade: it says why in one line, and leaves everything as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from at_worker.config import load
from at_worker.store import admin
from at_worker.store.database import Database
from at_worker.store.errors import Unusable
from tests.conftest import _fresh
from tests.store import ddl
from tests.store.plain import PLAIN, ROWS, VARIANTS

# Name: how the table is made, what else is there, and the reason.
TABLES = {
    "uuid as id": (
        PLAIN.replace("BIGSERIAL", "UUID DEFAULT gen_random_uuid()"),
        "",
        "scheduled_tasks.id cannot become bigint: cannot cast type uuid to bigint",
    ),
    "a view on a column whose type must change": (
        VARIANTS["varchar"] + ROWS,
        "CREATE VIEW overview AS SELECT status FROM scheduled_tasks",
        "scheduled_tasks.status cannot become text: cannot alter type of a column used by a view or rule; ",
    ),
    "an index on the values of an enum": (
        VARIANTS["enum"] + ROWS,
        "CREATE INDEX ON scheduled_tasks (id) WHERE status = 'pending'",
        "scheduled_tasks.status cannot become text: operator does not exist: text = task_status",
    ),
    "a payload that is no JSON": (
        VARIANTS["payload as text"],
        ddl.insert(task_type="'a'", payload="'b'", execute_at="now()"),
        "scheduled_tasks.payload cannot become jsonb: invalid input syntax for type json",
    ),
    "priorities of its own": (
        PLAIN.replace("task_type", "priority INTEGER DEFAULT 100, task_type"),
        ddl.insert(task_type="'a'", execute_at="now()"),
        'check constraint "scheduled_tasks_priority" of relation "scheduled_tasks" is violated by some row',
    ),
    "another primary key": (
        VARIANTS["no primary key"],
        "ALTER TABLE scheduled_tasks ADD PRIMARY KEY (task_type)",
        'multiple primary keys for table "scheduled_tasks" are not allowed',
    ),
    "an id twice": (
        VARIANTS["no primary key"] + ROWS,
        "UPDATE scheduled_tasks SET id = 1",
        'could not create unique index "scheduled_tasks_pkey"',
    ),
    "somebody else's table": (
        "CREATE TABLE scheduled_tasks (id BIGSERIAL PRIMARY KEY, name TEXT, command TEXT)",
        "",
        "scheduled_tasks has no column task_type: it is not a table of at-worker's",
    ),
    "a partitioned table": (
        "CREATE TABLE scheduled_tasks (id BIGINT, execute_at TIMESTAMPTZ) PARTITION BY RANGE (execute_at)",
        "",
        "scheduled_tasks is there, but it is not a plain table",
    ),
    "a view": (
        PLAIN.replace("scheduled_tasks", "tasks"),
        "CREATE VIEW scheduled_tasks AS SELECT * FROM tasks",
        "scheduled_tasks is there, but it is not a plain table",
    ),
}


# The tests of one table share it, for none may change it.
@pytest.fixture(scope="module", params=TABLES)
def refused(request: pytest.FixtureRequest, server_dsn: str) -> Iterator[tuple[str, str]]:
    """The address of a table that cannot be upgraded, and the reason."""
    create, more, reason = TABLES[request.param]
    with contextmanager(_fresh)(server_dsn, "template1") as dsn:
        with psycopg.connect(dsn) as connection:
            connection.execute((create + more).encode())
        yield dsn, reason


def test_psql_says_why_and_leaves_everything_as_it_was(refused: tuple[str, str]) -> None:
    dsn, reason = refused
    before = ddl.shape(dsn), ddl.rows(dsn)
    done = ddl.psql(dsn, f"--file={ddl.FILE}")
    assert done.returncode == 3
    assert reason in done.stderr.splitlines()[0]
    assert (ddl.shape(dsn), ddl.rows(dsn)) == before


def test_psql_leaves_everything_as_it_was_also_where_it_goes_on_after_an_error(
    refused: tuple[str, str],
) -> None:
    dsn, _ = refused
    before = ddl.shape(dsn), ddl.rows(dsn)
    ddl.psql(dsn, "--set=ON_ERROR_STOP=0", f"--file={ddl.FILE}")
    assert (ddl.shape(dsn), ddl.rows(dsn)) == before


def test_init_db_says_why_in_one_line(refused: tuple[str, str]) -> None:
    dsn, reason = refused
    with pytest.raises(Unusable) as failure:
        admin.init_db(Database(load({"DATABASE_URL": dsn}, ())))
    assert str(failure.value).startswith(reason)
    assert "\n" not in str(failure.value)


def test_a_table_of_a_later_version_is_refused(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("COMMENT ON TABLE scheduled_tasks IS 'at-worker schema 1000: from the future'")
    before = ddl.shape(dsn)
    with pytest.raises(psycopg.errors.RaiseException, match="has schema version 1000, this file is older"):
        ddl.apply(dsn)
    assert ddl.shape(dsn) == before
