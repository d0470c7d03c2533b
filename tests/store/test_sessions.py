"""Whatever a role or a database sets for its sessions: times, delays and texts stay right."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from typing import LiteralString

import psycopg
import pytest

from at_worker.outcome import Settlement, Status
from at_worker.store.database import Database
from at_worker.store.errors import Away, MissingTable
from at_worker.store.queue import Queue
from at_worker.store.recovery import Recovery
from tests.store.test_applying import set_default
from tests.tables import Table

HOSTILE = [
    "TimeZone = 'Pacific/Chatham'",
    "DateStyle = 'SQL, DMY'",
    "IntervalStyle = 'sql_standard'",
    "client_encoding = 'LATIN1'",
    "client_encoding = 'SJIS'",
    "standard_conforming_strings = off",
    "bytea_output = 'escape'",
    "extra_float_digits = -15",
    # It counts until the worker has its own; on a busy machine those few statements take some milliseconds.
    "statement_timeout = 100",
    "lock_timeout = 1",
    "idle_in_transaction_session_timeout = 1",
    "default_transaction_isolation = 'serializable'",
    "default_transaction_deferrable = on",
    "transform_null_equals = on",
    "quote_all_identifiers = on",
    "array_nulls = off",
    "row_security = off",
    "work_mem = '64kB'",
    "jit_above_cost = 0",
    "enable_indexscan = off",
    "enable_nestloop = off",
    "plan_cache_mode = 'force_custom_plan'",
    "lc_messages = 'C'",
    "client_min_messages = 'debug5'",
    "search_path = pg_temp, public",
    "session_replication_role = 'replica'",
]
LIMITS: LiteralString = """
    SELECT current_setting('statement_timeout'), current_setting('lock_timeout'),
           current_setting('idle_in_transaction_session_timeout')
"""
RESET = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET ALL', current_database()); END $$"
TEXT = "žluťoučký 日本 \\ ' 🕰"


@pytest.fixture
def dsn(emptied_dsn: str) -> Iterator[str]:
    """The settings that a test makes are for sessions that begin after it: this one undoes them."""
    with psycopg.connect(emptied_dsn, autocommit=True) as unimpressed:
        yield emptied_dsn
        unimpressed.execute(RESET)


@pytest.mark.parametrize("setting", HOSTILE)
def test_a_task_is_worked_off_as_always(setting: str, table: Table) -> None:
    set_default(table.dsn, setting)
    scheduled = datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=UTC)
    task_id = table.insert(
        payload={"text": TEXT},
        execute_at=scheduled,
        expires_at=datetime.now(UTC) + timedelta(hours=1),
        retry_delays=[timedelta(seconds=90), timedelta(days=1, milliseconds=1)],
    )
    with closing(Database(table.settings())) as database:
        database.open()
        queue = Queue(database, "w-1/boot", None)
        (task,) = queue.claim(10, 0).tasks
        assert task.scheduled_at == scheduled
        assert TEXT.replace("\\", "\\\\") in task.payload
        assert task.retry_delays == (90.0, 86400.001)
        assert task.expires is not None
        assert task.expires - time.monotonic() == pytest.approx(3600, abs=5)
        queue.beat([task.claim])
        with Recovery(database, 300, None).stuck(0, 10) as (session, stuck):
            assert (stuck, session.rows("SELECT 1 WHERE true")) == ([], [(1,)])
            assert session.rows(LIMITS) == [("24s", "18s", "30s")]
        end = Settlement(task, Status.PENDING, attempted=True, delay=90.0, error=TEXT)
        assert not queue.settle([end]).lost
    row = table.row(task_id)
    assert row["error_message"] == TEXT
    assert row["original_execute_at"] == scheduled
    assert (row["execute_at"] - row["updated_at"]).total_seconds() == pytest.approx(90)


def test_rows_that_others_change_meanwhile_are_passed_over_under_serializable(table: Table) -> None:
    set_default(table.dsn, "default_transaction_isolation = 'serializable'")
    tasks = [table.insert() for _ in range(2)]
    with closing(Database(table.settings())) as database:
        database.open()
        first, second = (Queue(database, f"w-{n}/boot", None) for n in range(2))
        with database.session() as session, session.transaction():
            session.rows("SELECT FROM {tasks} WHERE id = %(id)s FOR UPDATE", {"id": tasks[0]})
            assert [task.id for task in first.claim(10, 0).tasks] == tasks[1:]
        assert [task.id for task in second.claim(10, 0).tasks] == tasks[:1]


def test_connections_rest_as_long_as_they_like(table: Table) -> None:
    set_default(table.dsn, "idle_session_timeout = 200")
    told: list[Away | None] = []
    with closing(Database(table.settings(), told.append)) as database:
        database.open()
        for _ in range(3):
            with database.session() as session:
                session.rows("SELECT 1")
            table.sql("SELECT pg_sleep(0.4)")
    assert told == [None, None, None]


def test_a_connection_that_is_found_broken_after_others_are_back_is_no_new_outage(table: Table) -> None:
    told: list[Away | None] = []
    with closing(Database(table.settings(), told.append)) as database:
        database.open()
        with ExitStack() as late:
            late.enter_context(pytest.raises(Away))
            session = late.enter_context(database.session())
            with ExitStack() as first:
                first.enter_context(pytest.raises(Away))
                cut = first.enter_context(database.session())
                table.sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND application_name LIKE 'at-worker%'"
                )
                cut.ping()
            with database.session() as again:
                again.ping()
            session.ping()
    assert [type(each) for each in told] == [Away, type(None)]


def test_a_session_that_reaches_the_server_and_then_fails_tells_of_the_outage(table: Table) -> None:
    told: list[Away | None] = []
    table.sql("ALTER TABLE scheduled_tasks RENAME TO elsewhere")
    with closing(Database(table.settings(), told.append)) as database:
        database.open()
        for _ in range(3):
            with pytest.raises(Away), database.session() as session:
                session.rows("SELECT FROM {tasks}")
    table.sql("ALTER TABLE elsewhere RENAME TO scheduled_tasks")
    assert [type(each) for each in told] == [MissingTable] * 3


def test_a_role_that_may_only_read_is_told_why(table: Table) -> None:
    set_default(table.dsn, "default_transaction_read_only = on")
    with pytest.raises(Away, match="default_transaction_read_only"), Database(table.settings()).direct():
        pass
