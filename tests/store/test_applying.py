"""Applying sql/ddl.sql beside others: several at once, long transactions, odd sessions."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import psycopg
import pytest

from at_worker.config import load
from at_worker.outcome import Settlement, Status
from at_worker.store import admin
from at_worker.store.database import Database
from at_worker.store.queue import Queue
from tests.store import ddl
from tests.store.ddl import insert
from tests.store.plain import COMPARED, PLAIN, ROWS
from tests.store.test_roles import login
from tests.tables import PATIENCE, Table

VERSION_1 = (Path(__file__).with_name("versions") / "1.sql").read_text(encoding="utf-8")
IMPATIENT = "SET LOCAL lock_timeout = '200ms';"


def impatient() -> str:
    """The file, but it waits only a moment for a lock."""
    text = admin.ddl().replace("SET LOCAL lock_timeout = '30s';", IMPATIENT)
    assert IMPATIENT in text
    return text


def execute(dsn: str, statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statements.encode())


def set_default(dsn: str, setting: str) -> None:
    """Give every later session of this database a setting."""
    execute(
        dsn,
        f"DO $$ BEGIN EXECUTE format($f$ALTER DATABASE %I SET {setting}$f$, current_database()); END $$",
    )


@pytest.fixture
def writer(empty_dsn: str) -> Iterator[psycopg.Connection]:
    """A transaction in an older table that has changed a row and not ended."""
    execute(empty_dsn, PLAIN + ROWS)
    with psycopg.connect(empty_dsn) as connection:
        connection.execute("UPDATE scheduled_tasks SET attempts = 2 WHERE id = 1")
        yield connection


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
@pytest.mark.parametrize("before", ["", PLAIN + ROWS], ids=["empty", "plain"])
def test_four_at_once_make_one_table(empty_dsn: str, new: ddl.Shape, before: str, isolation: str) -> None:
    execute(empty_dsn, before)
    set_default(empty_dsn, f"default_transaction_isolation = '{isolation}'")
    together = Barrier(4)

    def apply() -> None:
        with psycopg.connect(empty_dsn, autocommit=True) as connection:
            together.wait(PATIENCE)
            connection.execute(admin.ddl().encode())

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(apply) for _ in range(4)]:
            done.result()
    assert ddl.shape(empty_dsn) == new


def test_an_upgrade_waits_for_a_transaction_that_writes(empty_dsn: str, writer: psycopg.Connection) -> None:
    with ThreadPoolExecutor() as threads:
        done = threads.submit(ddl.apply, empty_dsn)
        ddl.wait_until_blocked(empty_dsn)
        writer.commit()
        done.result()
    with closing(Table(empty_dsn)) as table:
        assert table.row(1)["attempts"] == 2


def test_ids_given_out_while_an_upgrade_waits_are_not_given_out_again(
    empty_dsn: str, writer: psycopg.Connection
) -> None:
    with ThreadPoolExecutor() as threads:
        done = threads.submit(ddl.apply, empty_dsn)
        ddl.wait_until_blocked(empty_dsn)
        writer.execute(
            "INSERT INTO scheduled_tasks (task_type, execute_at) SELECT 'a', now() FROM generate_series(1, 5)"
        )
        writer.commit()
        done.result()
    with closing(Table(empty_dsn)) as table:
        assert table.insert() == 13


def test_an_upgrade_that_cannot_have_the_table_gives_up_and_leaves_it_as_it_was(
    empty_dsn: str, writer: psycopg.Connection
) -> None:
    before = ddl.shape(empty_dsn), ddl.rows(empty_dsn)
    with pytest.raises(psycopg.errors.LockNotAvailable, match="canceling statement due to lock timeout"):
        ddl.apply(empty_dsn, impatient())
    writer.rollback()
    assert (ddl.shape(empty_dsn), ddl.rows(empty_dsn)) == before


def test_applying_it_again_waits_for_nobody(table: Table) -> None:
    task = table.insert()
    with psycopg.connect(table.dsn) as writer, psycopg.connect(table.dsn) as reader:
        reader.execute("SELECT * FROM scheduled_tasks")
        writer.execute("UPDATE scheduled_tasks SET attempts = 2 WHERE id = %s", [task])
        ddl.apply(table.dsn, impatient())


def test_a_statement_timeout_of_the_role_does_not_end_an_upgrade(
    empty_dsn: str, writer: psycopg.Connection
) -> None:
    set_default(empty_dsn, "statement_timeout = '100ms'")
    with ThreadPoolExecutor() as threads:
        done = threads.submit(ddl.apply, empty_dsn)
        ddl.wait_until_blocked(empty_dsn, 0.2)
        writer.commit()
        done.result()


@pytest.mark.parametrize(
    "settings",
    [
        ("DateStyle = 'German, DMY'", "IntervalStyle = 'iso_8601'", "TimeZone = 'Asia/Kathmandu'"),
        ("DateStyle = 'SQL, MDY'", "IntervalStyle = 'sql_standard'", "TimeZone = 'America/St_Johns'"),
        ("standard_conforming_strings = off", "client_encoding = 'LATIN1'", "bytea_output = 'escape'"),
        ("extra_float_digits = -15", "transform_null_equals = on", "array_nulls = off"),
        ("plpgsql.variable_conflict = 'use_column'", "check_function_bodies = off", "xmloption = document"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("before", ["", PLAIN + ROWS], ids=["empty", "plain"])
def test_the_settings_of_a_session_make_no_difference(
    empty_dsn: str, new: ddl.Shape, before: str, settings: tuple[str, ...]
) -> None:
    execute(empty_dsn, before)
    for setting in settings:
        set_default(empty_dsn, setting)
    done = ddl.psql(empty_dsn, f"--file={ddl.FILE}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert ddl.shape(empty_dsn) == new


def test_a_temporary_table_of_the_same_name_is_left_alone(empty_dsn: str, new: ddl.Shape) -> None:
    ddl.apply(empty_dsn, "CREATE TEMPORARY TABLE scheduled_tasks (id int);" + admin.ddl())
    assert ddl.shape(empty_dsn) == new


def test_a_temporary_table_does_not_hide_the_table_from_an_upgrade(empty_dsn: str, new: ddl.Shape) -> None:
    execute(empty_dsn, PLAIN)
    ddl.apply(empty_dsn, "CREATE TEMPORARY TABLE scheduled_tasks (id int);" + admin.ddl())
    assert ddl.shape(empty_dsn) == new


def test_the_table_is_upgraded_where_it_is_on_the_search_path(empty_dsn: str) -> None:
    execute(empty_dsn, f"CREATE SCHEMA first; CREATE SCHEMA second; SET search_path = second; {PLAIN}")
    ddl.apply(empty_dsn, "SET search_path = first, second;" + admin.ddl())
    with ddl.connect(empty_dsn) as connection:
        assert connection.execute(
            "SELECT relnamespace::regnamespace::text AS schema FROM pg_class WHERE relname LIKE 'scheduled%'"
            " UNION SELECT pronamespace::regnamespace::text FROM pg_proc WHERE proname LIKE 'scheduled%'"
        ).fetchall() == [{"schema": "second"}]


def test_functions_and_views_named_like_ours_in_an_earlier_schema_are_left_alone(empty_dsn: str) -> None:
    execute(
        empty_dsn,
        "CREATE SCHEMA first; CREATE SCHEMA second;"
        "CREATE FUNCTION first.scheduled_tasks_by_hand() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'not ours'; END $$;"
        "CREATE FUNCTION first.now() RETURNS timestamptz LANGUAGE sql AS"
        " $$ SELECT 'infinity'::timestamptz $$;"
        "CREATE VIEW first.scheduled_tasks_due AS SELECT 1;"
        f"SET search_path = second; {PLAIN}",
    )
    ddl.apply(empty_dsn, "SET search_path = first, second;" + admin.ddl())
    set_default(empty_dsn, "search_path = first, pg_catalog, second")
    with closing(Table(empty_dsn)) as table:
        task = table.insert()
        table.sql("UPDATE scheduled_tasks SET status = 'completed' WHERE id = %(id)s", id=task)
        assert table.row(task)["completed_at"] is not None
    assert len(ddl.shape(empty_dsn)["indexes"]) == 8


@pytest.mark.parametrize("path", ["", "nowhere", '"$user"'])
def test_a_search_path_without_a_schema_is_told(empty_dsn: str, path: str) -> None:
    with pytest.raises(psycopg.errors.InvalidSchemaName, match="no schema has been selected to create in"):
        ddl.apply(empty_dsn, f"SELECT set_config('search_path', '{path}', false);" + admin.ddl())


def test_an_ordinary_role_with_a_schema_of_its_own_can_apply_it(empty_dsn: str, new: ddl.Shape) -> None:
    role = f"{empty_dsn.rpartition('/')[2]}_owner"
    execute(empty_dsn, f"CREATE ROLE {role}; CREATE SCHEMA own AUTHORIZATION {role}")
    try:
        ddl.apply(empty_dsn, f"SET ROLE {role}; SET search_path = own; {PLAIN} {ROWS}; {admin.ddl()}")
        set_default(empty_dsn, "search_path = own")
        assert ddl.shape(empty_dsn) == new
        with ddl.connect(empty_dsn) as connection:
            assert len(connection.execute(COMPARED.encode()).fetchall()) == 5
    finally:
        execute(empty_dsn, f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


def test_who_owned_the_table_works_on_after_somebody_else_has_upgraded_it(empty_dsn: str) -> None:
    with login(empty_dsn) as (name, own):
        execute(empty_dsn, f"CREATE SCHEMA own AUTHORIZATION {name}; ALTER ROLE {name} SET search_path = own")
        ddl.apply(own, VERSION_1)
        ddl.apply(own, insert(task_type="'probe'"))
        ddl.apply(empty_dsn, "SET search_path = own;" + admin.ddl())
        with closing(Database(load({"DATABASE_URL": own}, ()))) as database:
            database.open()
            queue = Queue(database, "w-1/boot", None)
            (task,) = queue.claim(1, 0).tasks
            assert not queue.settle([Settlement(task, Status.FAILED, error="it broke")]).lost
            with database.session() as session:
                assert admin.missing_privileges(session, delete=True) == []
        ddl.apply(own, "SELECT * FROM scheduled_tasks_due; DELETE FROM scheduled_tasks")
        execute(empty_dsn, "DROP SCHEMA own CASCADE")


def test_init_db_of_four_at_once_makes_the_database_and_the_table(empty_dsn: str, new: ddl.Shape) -> None:
    name = f"{empty_dsn.rpartition('/')[2]}_missing"
    missing = f"{empty_dsn.rpartition('/')[0]}/{name}"
    together = Barrier(4)

    def init() -> None:
        database = Database(load({"DATABASE_URL": missing}, ()))
        together.wait(PATIENCE)
        admin.init_db(database)

    try:
        with ThreadPoolExecutor(4) as threads:
            for done in [threads.submit(init) for _ in range(4)]:
                done.result()
        assert ddl.shape(missing) == new
    finally:
        execute(empty_dsn, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
