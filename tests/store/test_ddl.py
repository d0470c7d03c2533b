"""What sql/ddl.sql creates: the table of the contract, whoever applies it, and however often."""

from collections.abc import Callable

import psycopg
import pytest

from at_worker.config import load
from at_worker.store import admin, schema
from at_worker.store.database import Database
from tests.store import ddl
from tests.tables import Table

INSTANT = "timestamp with time zone"
# Type, whether it may be NULL, default.
CONTRACT = {
    "id": ("bigint", False, None),
    "task_type": ("text", False, None),
    "payload": ("jsonb", False, "'{}'::jsonb"),
    "execute_at": (INSTANT, False, "now()"),
    "status": ("text", False, "'pending'::text"),
    "attempts": ("integer", False, "0"),
    "max_attempts": ("integer", False, "5"),
    "error_message": ("text", True, None),
    "created_at": (INSTANT, False, "now()"),
    "updated_at": (INSTANT, False, "now()"),
    "completed_at": (INSTANT, True, None),
    "priority": ("smallint", False, "5"),
    "expires_at": (INSTANT, True, None),
    "retry_delays": ("interval[]", True, None),
    "original_execute_at": (INSTANT, True, None),
    "dedupe_key": ("text", True, None),
    "task_uid": ("uuid", False, "gen_random_uuid()"),
    "context": ("jsonb", False, "'{}'::jsonb"),
    "result": ("jsonb", True, None),
    "locked_by": ("text", True, None),
    "started_at": (INSTANT, True, None),
    "claim_seq": ("bigint", False, "0"),
}


def by_psql(dsn: str) -> None:
    done = ddl.psql(dsn, f"--file={ddl.FILE}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def by_init_db(dsn: str) -> None:
    admin.init_db(Database(load({"DATABASE_URL": dsn}, ())))


@pytest.mark.parametrize("name", CONTRACT)
def test_a_column_has_the_type_nullability_and_default_of_the_contract(new: ddl.Shape, name: str) -> None:
    kind, not_null, _, default, _ = new["columns"][name]
    assert (kind, not not_null, default) == CONTRACT[name]


def test_the_columns_are_those_of_the_contract_in_its_order(new: ddl.Shape) -> None:
    assert [name for name in new["columns"] if "." not in name] == list(CONTRACT)


def test_the_worker_expects_the_columns_that_the_file_creates(new: ddl.Shape) -> None:
    created = {name: column[0] for name, column in new["columns"].items() if "." not in name}
    assert created == schema.COLUMNS
    assert schema.complaint(created, new["tables"]) is None


def test_the_worker_expects_the_tables_that_the_file_creates(new: ddl.Shape) -> None:
    assert new["tables"].keys() == {schema.TABLE, *schema.BESIDE.values()}


def test_the_id_is_an_identity_by_default_and_the_primary_key(new: ddl.Shape) -> None:
    assert new["columns"]["id"][2] == "d"
    assert new["constraints"]["scheduled_tasks_pkey"] == ("PRIMARY KEY (id)",)


def test_every_table_and_every_column_has_a_comment(new: ddl.Shape) -> None:
    assert [name for name, table in new["tables"].items() if not table[-1]] == []
    assert [name for name, column in new["columns"].items() if not column[-1]] == []


@pytest.mark.parametrize("kind", ["functions", "views"])
def test_every_function_and_view_has_a_comment(new: ddl.Shape, kind: str) -> None:
    assert new[kind]
    assert [name for name, found in new[kind].items() if not found[-1]] == []


def test_the_index_that_had_the_name_of_a_view_is_kept_under_another(dsn: str, new: ddl.Shape) -> None:
    query = b"SELECT relfilenode FROM pg_class WHERE relname = 'scheduled_tasks_lanes'"
    with psycopg.connect(dsn, autocommit=True) as connection:
        before = connection.execute(query).fetchall()
        connection.execute("DROP VIEW scheduled_tasks_due")
        connection.execute("ALTER INDEX scheduled_tasks_lanes RENAME TO scheduled_tasks_due")
        ddl.apply(dsn)
        assert connection.execute(query).fetchall() == before
    assert ddl.shape(dsn) == new


def test_the_shortest_insert_makes_a_pending_row_that_is_due_now(table: Table) -> None:
    table.sql("INSERT INTO scheduled_tasks (task_type) VALUES ('probe')")
    (row,) = table.sql(
        "SELECT *, execute_at = created_at AND execute_at <= now() AS due FROM scheduled_tasks"
    )
    assert (row["status"], row["attempts"], row["due"]) == ("pending", 0, True)


def test_every_row_gets_a_task_uid_of_its_own(table: Table) -> None:
    table.sql("INSERT INTO scheduled_tasks (task_type) SELECT 'probe' FROM generate_series(1, 100)")
    assert table.sql("SELECT count(DISTINCT task_uid) AS uids FROM scheduled_tasks") == [{"uids": 100}]


@pytest.mark.parametrize("apply", [by_psql, by_init_db])
def test_the_file_creates_the_same_with_psql_and_with_init_db(
    new: ddl.Shape, empty_dsn: str, apply: Callable[[str], None]
) -> None:
    apply(empty_dsn)
    assert ddl.shape(empty_dsn) == new


@pytest.mark.parametrize("apply", [by_psql, by_init_db])
def test_applying_it_again_changes_nothing(table: Table, apply: Callable[[str], None]) -> None:
    table.insert(dedupe_key="once", retry_delays=["1 s"], expires_at="2030-01-01", result=None)
    table.insert(status="completed", completed_at="2020-01-01", updated_at="2020-01-01")
    shape, rows = ddl.shape(table.dsn), ddl.rows(table.dsn)
    apply(table.dsn)
    assert (ddl.shape(table.dsn), ddl.rows(table.dsn)) == (shape, rows)


def test_applying_it_again_rewrites_nothing(table: Table) -> None:
    query = (
        "SELECT relname, relfilenode FROM pg_class"
        " WHERE relname LIKE 'scheduled%%' AND relfilenode <> 0 ORDER BY 1"
    )
    before = table.sql(query)
    ddl.apply(table.dsn)
    assert table.sql(query) == before


@pytest.mark.parametrize(
    "drop",
    [
        "DROP INDEX scheduled_tasks_lanes",
        "DROP INDEX scheduled_tasks_dedupe_key",
        "DROP TRIGGER scheduled_tasks_by_hand ON scheduled_tasks",
        "DROP FUNCTION scheduled_tasks_by_hand CASCADE",
        "DROP FUNCTION at_schedule",
        "DROP VIEW scheduled_tasks_failed",
        "COMMENT ON COLUMN scheduled_tasks.id IS NULL",
    ],
)
def test_applying_it_again_brings_back_what_was_dropped(dsn: str, drop: str) -> None:
    before = ddl.shape(dsn)
    with psycopg.connect(dsn) as connection:
        connection.execute(drop.encode())
    assert ddl.shape(dsn) != before
    ddl.apply(dsn)
    assert ddl.shape(dsn) == before


def test_its_settings_end_with_it(empty_dsn: str) -> None:
    done = ddl.psql(
        empty_dsn,
        "--tuples-only",
        "--no-align",
        f"--file={ddl.FILE}",
        "--command=SHOW search_path",
        "--command=SHOW lock_timeout",
        "--command=SHOW client_min_messages",
    )
    assert done.stdout.splitlines() == ['"$user", public', "0", "notice"]
