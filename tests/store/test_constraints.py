"""Constraints keep out what would break a worker, and nothing else; dedupe keys are unique."""

from contextlib import closing

import psycopg
import pytest
from psycopg.errors import CheckViolation, NotNullViolation, UniqueViolation

from at_worker.store.database import Database
from at_worker.store.queue import Queue
from at_worker.store.recovery import Recovery
from at_worker.store.schema import COLUMNS
from tests.store import ddl
from tests.store.test_ddl import CONTRACT
from tests.tables import Table

INSTANTS = [name for name, kind in COLUMNS.items() if kind == "timestamp with time zone"]

REFUSED = [
    *[
        (name, value)
        for name in INSTANTS
        for value in (
            "'infinity'",
            "'-infinity'",
            "'0001-12-31 23:59:59+00'",
            "'0044-03-15 BC'",
            "'9999-01-01 00:00:01+00'",
        )
    ],
    *[("status", value) for value in ("'done'", "'Pending'", "''", "' pending'")],
    *[("task_type", value) for value in ("''", "repeat('x', 1001)", "repeat('é', 501)")],
    *[("priority", value) for value in ("-1", "10", "32767")],
    *[("attempts", value) for value in ("-1", "-2147483648")],
    *[("max_attempts", value) for value in ("0", "-1")],
    *[("claim_seq", value) for value in ("-1", "1000000000000001", "9223372036854775807")],
    *[
        ("retry_delays", value)
        for value in (
            "ARRAY[NULL]::interval[]",
            "ARRAY['1 s', NULL]::interval[]",
            "ARRAY[ARRAY['1 s', '2 s']]::interval[]",
            "ARRAY[ARRAY[NULL]]::interval[]",
        )
    ],
]

ACCEPTED = [
    *[
        (name, value)
        for name in INSTANTS
        for value in ("'0002-01-01 00:00+00'", "'1970-01-01 00:00+00'", "'9999-01-01 00:00+00'")
    ],
    ("task_type", "' '"),
    ("claim_seq", "1000000000000000"),
    ("task_type", "'http_callback'"),
    ("task_type", "'ä €'"),
    ("task_type", "(SELECT string_agg(chr(33 + n * 7919 % 90), '') FROM generate_series(1, 1000) n)"),
    ("payload", "'null'"),
    ("payload", "'[1, \"x\"]'"),
    ("payload", "'\"text\"'"),
    ("payload", "('{\"n\": ' || repeat('9', 10000) || '}')::jsonb"),
    ("payload", "(repeat('[', 2000) || repeat(']', 2000))::jsonb"),
    ("context", "'null'"),
    ("result", "'0'"),
    ("attempts", "2147483647"),
    ("attempts", "7"),
    ("max_attempts", "1"),
    ("max_attempts", "2147483647"),
    ("priority", "0"),
    ("priority", "9"),
    ("claim_seq", "999999999999999"),
    ("error_message", "repeat('x', 100000)"),
    ("dedupe_key", "''"),
    ("locked_by", "''"),
    ("retry_delays", "'{}'"),
    ("retry_delays", "'{0, -1 day, 1 s}'"),
    ("retry_delays", "'{178000000 years}'"),
    ("retry_delays", "'[5:6]={1 s, 2 s}'"),
    ("retry_delays", "array_fill(interval '1 s', ARRAY[10000])"),
]


def inserted(table: Table, column: str, value: str) -> int:
    """Insert a row with a SQL expression as one of its values."""
    with psycopg.connect(table.dsn) as connection:
        statement = ddl.insert(**{"task_type": "'probe'", column: value})
        row = connection.execute(f"{statement} RETURNING id".encode()).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize(("column", "value"), REFUSED)
def test_a_value_that_would_break_a_worker_is_refused(shared: Table, column: str, value: str) -> None:
    with pytest.raises(CheckViolation):
        inserted(shared, column, value)


@pytest.mark.parametrize("column", [name for name, (_, nullable, _) in CONTRACT.items() if not nullable])
def test_null_is_refused_where_there_is_a_default(shared: Table, column: str) -> None:
    with pytest.raises(NotNullViolation):
        inserted(shared, column, "NULL")


@pytest.mark.parametrize(("column", "value"), ACCEPTED)
def test_a_value_that_the_contract_allows_is_accepted(shared: Table, column: str, value: str) -> None:
    inserted(shared, column, value)


@pytest.mark.parametrize("status", ["pending", "processing", "completed", "failed", "cancelled"])
def test_a_row_made_by_hand_is_accepted_in_every_status(shared: Table, status: str) -> None:
    shared.insert(status=status, updated_at="2001-01-01", attempts=9, completed_at="2001-01-01")
    shared.insert(status=status, updated_at="2001-01-01", completed_at=None)


def test_an_infinite_delay_counts_as_a_long_one_where_the_server_knows_it(table: Table) -> None:
    with psycopg.connect(table.dsn) as connection:
        known = connection.info.server_version >= 170000
    if not known:
        with pytest.raises(psycopg.DataError):
            inserted(table, "retry_delays", "'{infinity, -infinity}'")
        return
    inserted(table, "retry_delays", "'{infinity, -infinity}'")
    with closing(Database(table.settings())) as database:
        database.open()
        (task,) = Queue(database, "w/boot", None).claim(1, 0).tasks
    assert task.retry_delays == (3.15e9, 0.0)


def test_all_that_is_accepted_can_be_claimed(table: Table) -> None:
    tasks = {inserted(table, column, value) for column, value in ACCEPTED}
    table.sql("UPDATE scheduled_tasks SET execute_at = '2020-01-01', expires_at = NULL")
    with closing(Database(table.settings())) as database:
        database.open()
        batch = Queue(database, "w/boot", None).claim(len(tasks), 0)
    assert {task.claim.id for task in batch.tasks} == tasks


def test_all_that_is_accepted_can_be_found_stuck(table: Table) -> None:
    tasks = {inserted(table, column, value) for column, value in ACCEPTED}
    table.sql("UPDATE scheduled_tasks SET status = 'processing', updated_at = '2020-01-01'")
    with closing(Database(table.settings())) as database:
        database.open()
        with Recovery(database, 5, None).stuck(0, len(tasks)) as (_, stuck):
            assert {found.task.claim.id for found in stuck} == tasks


@pytest.mark.parametrize("status", ["pending", "processing", "completed"])
def test_a_dedupe_key_is_taken_while_its_task_counts(shared: Table, status: str) -> None:
    shared.insert(dedupe_key=f"taken {status}", status=status)
    assert not shared.sql(
        "INSERT INTO scheduled_tasks (task_type, dedupe_key) VALUES ('probe', %(key)s)"
        " ON CONFLICT DO NOTHING RETURNING id",
        key=f"taken {status}",
    )


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_dedupe_key_is_free_again_after_its_task_came_to_nothing(shared: Table, status: str) -> None:
    shared.insert(dedupe_key=f"free {status}", status=status)
    assert shared.sql(
        "INSERT INTO scheduled_tasks (task_type, dedupe_key) VALUES ('probe', %(key)s)"
        " ON CONFLICT DO NOTHING RETURNING id",
        key=f"free {status}",
    )


def test_an_insert_without_on_conflict_tells_of_a_dedupe_key_that_is_taken(shared: Table) -> None:
    shared.insert(dedupe_key="told")
    with pytest.raises(UniqueViolation):
        shared.insert(dedupe_key="told")


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_running_a_row_again_tells_that_its_dedupe_key_was_used_again(shared: Table, status: str) -> None:
    task = shared.insert(dedupe_key=f"again {status}", status=status)
    shared.insert(dedupe_key=f"again {status}")
    with pytest.raises(UniqueViolation, match="scheduled_tasks_dedupe_key"):
        shared.sql("UPDATE scheduled_tasks SET status = 'pending' WHERE id = %(id)s", id=task)


def test_rows_without_a_dedupe_key_never_conflict(shared: Table) -> None:
    shared.insert()
    shared.insert()
