"""Programs schedule on connections of their own, whatever those are like."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, ClassVar, LiteralString, assert_type
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg import AsyncConnection, Connection
from psycopg.rows import TupleRow, class_row, dict_row, tuple_row

from at_worker import Email, HttpCallback, RabbitMQ, Secret, schedule
from at_worker.jsontext import Json
from at_worker.producer import cancel, reschedule, retry
from at_worker.store.admin import ddl

LATER = datetime(2999, 1, 1, tzinfo=UTC)

# A program whose types nobody checks.
unchecked: Any = schedule


@pytest.fixture
def connection(module_dsn: str) -> Iterator[Connection]:
    """A connection whose transaction is taken back."""
    with closing(psycopg.connect(module_dsn)) as opened:
        yield opened


def ask(connection: Connection[Any], query: LiteralString, *parameters: object) -> TupleRow:
    """The one row of a query, whatever the connection makes of rows."""
    row = psycopg.Cursor(connection, row_factory=tuple_row).execute(query, parameters).fetchone()
    assert row is not None
    return row


def column(connection: Connection[Any], name: LiteralString, task: int) -> object:
    return ask(connection, "SELECT to_jsonb(t) -> %s FROM scheduled_tasks t WHERE id = %s", name, task)[0]


def test_a_task_becomes_the_row_of_its_plain_insert(connection: Connection) -> None:
    task = assert_type(schedule(connection, HttpCallback("https://example.org", data={"n": 1}), LATER), int)
    connection.execute(
        "INSERT INTO scheduled_tasks (task_type, payload, execute_at)"
        """ VALUES ('http_callback', '{"url": "https://example.org", "data": {"n": 1}}', %s)""",
        [LATER],
    )
    rows = connection.execute(
        "SELECT to_jsonb(t) - '{id,task_uid}'::text[] FROM scheduled_tasks t WHERE id >= %s", [task]
    ).fetchall()
    assert len(rows) == 2
    assert rows[0] == rows[1]


def test_a_task_comes_and_goes_with_the_transaction_of_the_caller(
    connection: Connection, module_dsn: str
) -> None:
    count = "SELECT count(*) FROM scheduled_tasks WHERE id = %s"
    task = schedule(connection, RabbitMQ(queue="orders"))
    with psycopg.connect(module_dsn) as other:
        assert ask(other, count, task) == (0,)
    connection.rollback()
    assert ask(connection, count, task) == (0,)


@pytest.mark.parametrize(
    "options",
    [
        {"autocommit": True},
        {"row_factory": dict_row},
        {"row_factory": class_row(dict)},
        {"cursor_factory": psycopg.ClientCursor},
        {"cursor_factory": psycopg.RawCursor},
        {"prepare_threshold": None},
        {"prepare_threshold": 0},
        {"options": "-c timezone=America/St_Johns -c datestyle=German -c intervalstyle=iso_8601"},
        {"client_encoding": "latin1"},
        {"client_encoding": "sql_ascii"},
    ],
    ids=str,
)
def test_every_kind_of_connection_schedules_the_same(options: dict[str, Any], module_dsn: str) -> None:
    with psycopg.connect(module_dsn, **options) as connection:
        task = schedule(
            connection, ("próbe", {"€": Decimal("19.90")}), LATER, expires_at=LATER, dedupe_key="ключ"
        )
        assert reschedule(connection, task, LATER + timedelta(hours=1)) is True
    with psycopg.connect(module_dsn, client_encoding="utf8") as connection:
        assert ask(
            connection,
            "DELETE FROM scheduled_tasks WHERE id = %s"
            " RETURNING task_type, payload::text, execute_at, expires_at, dedupe_key",
            task,
        ) == ("próbe", '{"€": 19.90}', LATER + timedelta(hours=1), LATER, "ключ")


@asynccontextmanager
async def asynchronous(dsn: str, options: dict[str, Any]) -> AsyncIterator[AsyncConnection[Any]]:
    opened = await AsyncConnection.connect(dsn, **options)
    try:
        yield opened
    finally:
        await opened.close()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"row_factory": dict_row},
        {"cursor_factory": psycopg.AsyncClientCursor},
        {"cursor_factory": psycopg.AsyncRawCursor},
    ],
    ids=str,
)
def test_asynchronous_connections_do_the_same_once_awaited(options: dict[str, Any], module_dsn: str) -> None:
    async def program() -> tuple[int, list[bool]]:
        async with asynchronous(module_dsn, options) as connection:
            task = assert_type(await schedule(connection, RabbitMQ(queue="orders"), LATER), int)
            assert await schedule(connection.cursor(), ("probe", {}), LATER) == task + 1
            return task, [
                assert_type(await reschedule(connection, task, timedelta(days=1)), bool),
                assert_type(await cancel(connection, task), bool),
                assert_type(await retry(connection, task), bool),
                await retry(connection, task),
            ]

    task, done = asyncio.run(program())
    assert task > 0
    assert done == [True, True, True, False]


def test_a_cursor_stands_for_its_connection_and_keeps_its_rows(connection: Connection) -> None:
    cursor = connection.execute("SELECT 'still here'")
    schedule(cursor, RabbitMQ(queue="orders"))
    assert cursor.fetchone() == ("still here",)


def test_tasks_are_scheduled_in_a_pipeline_too(connection: Connection) -> None:
    with connection.pipeline():
        first, second = (schedule(connection, ("probe", {})) for _ in range(2))
    assert second == first + 1


def test_without_a_time_a_task_is_due_at_once(connection: Connection) -> None:
    task = schedule(connection, ("probe", {}))
    assert ask(connection, "SELECT execute_at = now() FROM scheduled_tasks WHERE id = %s", task) == (True,)


@pytest.mark.parametrize(
    "length",
    [
        timedelta(days=200, microseconds=1),
        timedelta(days=36500),
        timedelta(hours=-1),
        timedelta(seconds=-0.5),
    ],
    ids=str,
)
def test_a_length_of_time_passes_whatever_the_calendar_does(
    length: timedelta, connection: Connection
) -> None:
    connection.execute("SET timezone = 'Europe/Berlin'")
    task = schedule(connection, ("probe", {}), length, expires_at=length + timedelta(days=200))
    assert ask(
        connection,
        "SELECT extract(epoch FROM execute_at - now())::text, extract(epoch FROM expires_at - execute_at)"
        " FROM scheduled_tasks WHERE id = %s",
        task,
    ) == (f"{length.total_seconds():.6f}", 200 * 86400)


@pytest.mark.parametrize(
    "instant",
    [
        datetime(2026, 12, 24, 18, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime(2026, 12, 24, 18, 0, 0, 1, tzinfo=timezone(timedelta(hours=5, minutes=53, seconds=28))),
    ],
    ids=str,
)
def test_an_instant_is_what_it_is_in_its_own_zone(instant: datetime, connection: Connection) -> None:
    task = schedule(connection, ("probe", {}), instant)
    assert ask(connection, "SELECT execute_at FROM scheduled_tasks WHERE id = %s", task) == (instant,)


def test_a_plug_in_may_have_a_class_for_its_payload(connection: Connection) -> None:
    class Line:
        task_type: ClassVar[str] = "append_line"

        def payload(self) -> Json:
            return {"line": "hello"}

    task = schedule(connection, Line())
    assert column(connection, "task_type", task) == "append_line"
    assert column(connection, "payload", task) == {"line": "hello"}


def test_every_option_sets_its_column(connection: Connection) -> None:
    task = schedule(
        connection,
        ("probe", {}),
        LATER,
        priority=9,
        expires_at=LATER,
        max_attempts=3,
        retry_delays=[timedelta(seconds=10), timedelta(days=1.5)],
        dedupe_key="every option",
        on_duplicate="error",
        context={"by": None},
    )
    assert ask(
        connection,
        "SELECT priority, expires_at, max_attempts, retry_delays, dedupe_key, context"
        " FROM scheduled_tasks WHERE id = %s",
        task,
    ) == (9, LATER, 3, [timedelta(seconds=10), timedelta(days=1.5)], "every option", {"by": None})


def test_an_option_that_is_none_counts_as_absent(connection: Connection) -> None:
    task = schedule(connection, ("probe", {}), priority=None, expires_at=None, retry_delays=None)
    assert column(connection, "priority", task) == 5


def test_a_key_that_is_taken_brings_the_id_of_its_task(connection: Connection) -> None:
    task = schedule(connection, ("probe", 1), dedupe_key="a")
    assert schedule(connection, ("probe", 2), dedupe_key="a") == task
    assert column(connection, "payload", task) == 1


def test_a_key_that_is_taken_may_change_its_task(connection: Connection) -> None:
    task = schedule(connection, ("probe", 1), dedupe_key="a")
    assert schedule(connection, ("probe", 2), dedupe_key="a", on_duplicate="replace") == task
    assert column(connection, "payload", task) == 2


def test_a_key_that_is_taken_may_be_an_error_that_names_the_task(connection: Connection) -> None:
    task = schedule(connection, ("probe", {}), dedupe_key="a")
    with pytest.raises(psycopg.errors.UniqueViolation, match=f'task {task} has the dedupe_key "a" already'):
        schedule(connection, ("probe", {}), dedupe_key="a", on_duplicate="error")


def test_an_unknown_option_is_named_beside_the_known_ones(connection: Connection) -> None:
    with pytest.raises(
        psycopg.errors.InvalidParameterValue, match="no option priorty; it has priority, expires_at"
    ):
        schedule(connection, ("probe", {}), priorty=9)  # type: ignore[call-overload]  # what this is about


@pytest.mark.parametrize(
    ("mistake", "kind", "said"),
    [
        (
            lambda c: unchecked(c, ("probe", {}), datetime(2999, 1, 1)),  # noqa: DTZ001 - what this is about
            ValueError,
            "execute_at has no time zone",
        ),
        (
            lambda c: unchecked(c, ("probe", {}), expires_at=datetime(2999, 1, 1)),  # noqa: DTZ001 - the same
            ValueError,
            "expires_at has no time zone",
        ),
        (lambda c: unchecked(c, ("probe", {}), "noon"), TypeError, "execute_at must be a datetime or a"),
        (lambda c: unchecked(c, ("probe", {}), date(2999, 1, 1)), TypeError, "timedelta, not date"),
        (lambda c: reschedule(c, 1, datetime(2999, 1, 1)), ValueError, "execute_at has no"),  # noqa: DTZ001
        (lambda c: unchecked(c, ("probe", {"at": LATER})), TypeError, "payload: .* datetime"),
        (lambda c: unchecked(c, ("probe", {"n": float("nan")})), ValueError, "payload: .* nan"),
        (lambda c: unchecked(c, ("probe", Secret("A"))), TypeError, "payload: .* Secret"),
        (lambda c: unchecked(c, ("probe", {}), context={"a": {1}}), TypeError, "options: .* set"),
        (lambda _: unchecked("postgresql://", ("probe", {})), TypeError, "builtins.str is no connection"),
    ],
    ids=range(10),
)
def test_a_mistake_is_named_before_the_transaction_hears_of_it(
    mistake: Callable[[Any], object], kind: type[Exception], said: str, connection: Connection
) -> None:
    connection.execute("SELECT 1")
    with pytest.raises(kind, match=said):
        mistake(connection)
    assert ask(connection, "SELECT 'the transaction goes on'") == ("the transaction goes on",)


def test_people_take_back_move_and_run_again(connection: Connection) -> None:
    task = schedule(connection, Email(to="ann@example.org", subject="hello", body="text"))
    assert assert_type(reschedule(connection, task, LATER), bool)
    assert assert_type(cancel(connection, task), bool)
    assert column(connection, "status", task) == "cancelled"
    assert not cancel(connection, task)
    assert not reschedule(connection, task, timedelta(hours=1))
    assert assert_type(retry(connection, task), bool)
    assert column(connection, "status", task) == "pending"


def test_where_the_functions_are_missing_the_error_names_the_remedy(empty_dsn: str) -> None:
    with (
        psycopg.connect(empty_dsn) as connection,
        pytest.raises(psycopg.errors.UndefinedFunction) as refused,
    ):
        schedule(connection, ("probe", {}))
    assert "at-worker init-db" in refused.value.__notes__[0]


def test_a_table_in_another_schema_is_found_on_the_search_path(empty_dsn: str) -> None:
    with psycopg.connect(empty_dsn, autocommit=True, options="-c search_path=jobs") as connection:
        connection.execute("CREATE SCHEMA jobs")
        connection.execute(ddl().encode())
        task = schedule(connection, ("probe", {}))
        assert ask(connection, "SELECT id FROM jobs.scheduled_tasks") == (task,)


def test_importing_the_names_loads_neither_psycopg_nor_what_executors_need() -> None:
    heavy = "{'psycopg', 'pika', 'aiosmtplib', 'urllib3', 'click', 'dotenv', 'asyncio', 'ssl'}"
    program = f"import at_worker, sys; print(sorted({heavy} & set(sys.modules)))"
    lighter = f"from at_worker import schedule; import sys; print(sorted({heavy} & set(sys.modules)))"
    assert _printed(program) == "[]\n"
    assert not {"pika", "aiosmtplib", "urllib3", "click", "dotenv"} & set(eval(_printed(lighter)))  # noqa: S307 - a list of names


def _printed(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
