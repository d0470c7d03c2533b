"""The tests of programs that schedule run their tasks, in their own transactions."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import AsyncConnection, Connection
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row

from at_worker import Attempt, Done, Fail, HttpCallback, InvalidPayload, Outcome, Retry, Secret, schedule
from at_worker.jsontext import Json
from at_worker.outcome import Status
from at_worker.store.errors import MissingTable
from at_worker.testing import Ran, run_due
from tests.engine.bench import Probe
from tests.servers.http import Receiver, Reply

DAY = timedelta(days=1)


@pytest.fixture
def connection(module_dsn: str) -> Iterator[Connection]:
    """A connection whose transaction is taken back."""
    with closing(psycopg.connect(module_dsn)) as opened:
        yield opened


class Fake:
    """Remembers what came, and ends in the outcomes of the test, the last of them again and again."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.payloads: list[Json] = []
        self.attempts: list[Attempt] = []
        self._outcomes = list(outcomes or [Done()])

    def __call__(self, payload: Json, attempt: Attempt) -> Outcome:
        self.payloads.append(payload)
        self.attempts.append(attempt)
        return self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]


def test_what_is_due_runs_and_is_told_in_its_order(connection: Connection) -> None:
    fake = Fake(Done({"n": 1}), Fail("no such order"), Retry("busy", result={"status": 503}))
    later = schedule(connection, ("probe", "later"), priority=1, max_attempts=1)
    first = schedule(connection, ("probe", "first"), priority=9)
    second = schedule(connection, ("probe", "second"))
    assert run_due(connection, {"probe": fake}) == [
        Ran(first, "probe", Status.COMPLETED, 1, None, {"n": 1}),
        Ran(second, "probe", Status.FAILED, 1, "no such order", None),
        Ran(later, "probe", Status.FAILED, 1, "busy", {"status": 503}),
    ]
    assert fake.payloads == ["first", "second", "later"]


def test_what_is_not_due_stays(connection: Connection) -> None:
    schedule(connection, ("probe", {}), timedelta(minutes=1))
    assert run_due(connection, {"probe": Fake()}) == []


def test_a_task_for_the_present_is_due_although_its_transaction_began_before(connection: Connection) -> None:
    connection.execute("SELECT 1")
    schedule(connection, ("probe", {}), datetime.now(UTC))
    assert [ran.status for ran in run_due(connection, {"probe": Fake()})] == ["completed"]


def test_types_without_an_executor_stay(connection: Connection) -> None:
    schedule(connection, HttpCallback("https://example.org"))
    assert run_due(connection, {"probe": Fake()}) == []


def test_a_paused_type_stays(connection: Connection) -> None:
    schedule(connection, ("probe", {}))
    connection.execute("SELECT at_pause('probe')")
    assert run_due(connection, {"probe": Fake()}) == []


def test_nothing_is_left_where_the_test_takes_its_transaction_back(
    connection: Connection, module_dsn: str
) -> None:
    task = schedule(connection, ("probe", {}))
    run_due(connection, {"probe": Fake()})
    assert connection.info.transaction_status is TransactionStatus.INTRANS
    connection.rollback()
    with psycopg.connect(module_dsn) as other:
        assert other.execute("SELECT FROM scheduled_tasks WHERE id = %s", [task]).fetchone() is None


def test_a_connection_that_was_idle_commits_nothing(connection: Connection, module_dsn: str) -> None:
    with psycopg.connect(module_dsn) as other:
        task = schedule(other, ("probe", {}))
    assert [ran.id for ran in run_due(connection, {"probe": Fake()})] == [task]
    connection.rollback()
    assert [ran.id for ran in run_due(module_dsn, {"probe": Fake()})] == [task]
    assert run_due(connection, {"probe": Fake()}) == []


@pytest.mark.parametrize(
    "options",
    [
        {"row_factory": dict_row},
        {"cursor_factory": psycopg.ClientCursor},
        {"cursor_factory": psycopg.RawCursor},
        {"prepare_threshold": 0},
        {"autocommit": True},
        {"options": "-c timezone=America/St_Johns -c search_path=public,pg_catalog"},
    ],
    ids=str,
)
def test_every_kind_of_connection_will_do(options: dict[str, Any], module_dsn: str) -> None:
    with psycopg.connect(module_dsn, **options) as connection, connection.transaction(force_rollback=True):
        task = schedule(connection, ("probe", {}), timedelta(days=200))
        (ran,) = run_due(connection, {"probe": Fake()}, after=timedelta(days=200))
        assert (ran.id, ran.status) == (task, "completed")


def test_an_asynchronous_connection_will_do(module_dsn: str) -> None:
    async def test() -> list[Ran]:
        async with (
            await AsyncConnection.connect(module_dsn) as connection,
            connection.transaction(force_rollback=True),
        ):
            await schedule(connection, ("probe", {}))
            return run_due(connection, {"probe": Fake()})

    assert [ran.status for ran in asyncio.run(test())] == ["completed"]


def test_the_connection_stays_as_it_was(connection: Connection) -> None:
    told: list[str | None] = []
    connection.add_notice_handler(lambda notice: told.append(notice.message_primary))
    # That one is set for the transaction alone, by its claims.
    settings: LiteralString = """
        SELECT name, setting FROM pg_settings
         WHERE name NOT LIKE 'plpgsql.%' AND name <> 'synchronous_commit' ORDER BY name
        """
    before = connection.execute(settings).fetchall()
    with connection.transaction():
        schedule(connection, ("probe", {}))
        run_due(connection, {"probe": Fake()})
    assert connection.execute(settings).fetchall() == before
    connection.execute("DO $$ BEGIN RAISE NOTICE 'still here'; END $$")
    assert told == ["still here"]
    connection.execute("SAVEPOINT of_the_caller")


def test_time_passes_and_each_task_runs_in_its_turn(connection: Connection) -> None:
    fake = Fake(Retry("busy"), Done())
    reminder = schedule(connection, ("probe", "reminder"), 3 * DAY)
    welcome = schedule(connection, ("probe", "welcome"), retry_delays=[DAY])
    far = schedule(connection, ("probe", "far"), 10 * DAY)
    assert [(ran.id, ran.status) for ran in run_due(connection, {"probe": fake}, after=7 * DAY)] == [
        (welcome, "pending"),
        (welcome, "completed"),
        (reminder, "completed"),
    ]
    assert run_due(connection, {"probe": fake}, after=2 * DAY) == []
    assert [ran.id for ran in run_due(connection, {"probe": fake}, after=DAY)] == [far]


def test_receivers_see_when_a_task_was_meant_to_run(connection: Connection) -> None:
    fake = Fake()
    instant = datetime(2999, 7, 1, 12, tzinfo=UTC)
    schedule(connection, ("probe", {}), instant)
    run_due(connection, {"probe": fake}, after=instant - datetime.now(UTC))
    assert [attempt.scheduled_at for attempt in fake.attempts] == [instant]


def test_a_task_that_expires_meanwhile_does_not_run(connection: Connection) -> None:
    fake = Fake()
    schedule(connection, ("probe", {}), 3 * DAY, expires_at=2 * DAY)
    (ran,) = run_due(connection, {"probe": fake}, after=7 * DAY)
    assert (ran.status, ran.attempts, (ran.error or "")[:8]) == ("failed", 0, "expired:")
    assert fake.payloads == []


def test_all_attempts_of_a_task_run_in_time(connection: Connection) -> None:
    schedule(connection, ("probe", {}))
    ran = run_due(connection, {"probe": Fake(Retry("busy"))}, after=DAY)
    assert [(each.status, each.attempts) for each in ran] == [
        *(("pending", number) for number in range(1, 5)),
        ("failed", 5),
    ]


def test_the_real_executors_run_where_none_are_given(connection: Connection) -> None:
    with Receiver() as receiver:
        receiver.script(Reply(status=503), Reply(status=204))
        schedule(connection, HttpCallback(receiver.url, data={"order": 42}))
        first, second = run_due(connection, after=DAY)
    assert (first.status, first.error) == ("pending", f"HTTP 503 from {receiver.url.removeprefix('http://')}")
    assert second.status == "completed"
    assert isinstance(second.result, dict)
    assert second.result["status"] == 204
    assert [arrival.body for arrival in receiver.arrivals] == [b'{"order":42}'] * 2


def test_a_server_that_is_down_postpones_nothing(connection: Connection) -> None:
    for _ in range(7):
        schedule(connection, HttpCallback("http://127.0.0.1:1/"))
    assert {(ran.status, ran.attempts) for ran in run_due(connection)} == {("pending", 1)}


def test_a_plug_in_can_be_handed_in(connection: Connection) -> None:
    plugin = Probe()
    schedule(connection, ("probe", {"n": 1}))
    assert [ran.status for ran in run_due(connection, {"probe": plugin})] == ["completed"]
    assert len(plugin.attempts) == 1


def test_a_plug_in_may_end_later(connection: Connection) -> None:
    class Later:
        def parse(self, payload: Json) -> Json:
            return payload

        def execute(self, payload: Json, _attempt: Attempt) -> Future[Outcome]:
            return pool.submit(Done, payload)

        def close(self) -> None:
            pass

    schedule(connection, ("probe", {"n": 1}))
    with ThreadPoolExecutor() as pool:
        (ran,) = run_due(connection, {"probe": Later()})
    assert (ran.status, ran.result) == ("completed", {"n": 1})


def test_a_payload_that_a_worker_would_refuse_fails_before_a_stand_in(connection: Connection) -> None:
    fake = Fake()
    schedule(connection, HttpCallback("ftp://example.org"))
    (ran,) = run_due(connection, {"http_callback": fake})
    assert (ran.status, ran.error) == (
        "failed",
        "invalid payload: url: must begin with http:// or https://",
    )
    assert fake.payloads == []


def test_a_stand_in_needs_no_secrets(connection: Connection) -> None:
    schedule(connection, HttpCallback("https://example.org", auth={"bearer": Secret("OF_PRODUCTION")}))
    assert [ran.status for ran in run_due(connection, {"http_callback": Fake()})] == ["completed"]


def test_a_stand_in_may_refuse_a_payload(connection: Connection) -> None:
    def refuse(_payload: Json, _attempt: Attempt) -> Outcome:
        raise InvalidPayload("order", "is unknown")

    schedule(connection, ("probe", {}))
    (ran,) = run_due(connection, {"probe": refuse})
    assert (ran.status, ran.error) == ("failed", "invalid payload: order: is unknown")


def test_a_surprise_is_tried_again_as_by_a_worker(connection: Connection) -> None:
    def surprise(_payload: Json, _attempt: Attempt) -> Outcome:
        raise KeyError("order")

    schedule(connection, ("probe", {}))
    (ran,) = run_due(connection, {"probe": surprise})
    assert (ran.status, ran.error) == ("pending", "KeyError: 'order'")


@pytest.mark.parametrize(
    "error", [AssertionError("not so"), KeyboardInterrupt(), pytest.fail.Exception("not so")], ids=repr
)
def test_a_failed_assertion_of_a_stand_in_is_the_tests(error: BaseException, module_dsn: str) -> None:
    def wrong(_payload: Json, _attempt: Attempt) -> Outcome:
        raise error

    with psycopg.connect(module_dsn, autocommit=True) as connection:
        task = schedule(connection, ("probe", {}), max_attempts=1)
        with pytest.raises(type(error)):
            run_due(connection, {"probe": wrong})
        # It is not left to a cleaner that no test has.
        assert connection.execute("SELECT status FROM scheduled_tasks WHERE id = %s", [task]).fetchone() == (
            "failed",
        )


def test_what_postgresql_refuses_to_write_spoils_no_transaction(connection: Connection) -> None:
    connection.execute(
        """
        CREATE FUNCTION hands_off() RETURNS trigger LANGUAGE plpgsql
            AS $$ BEGIN RAISE EXCEPTION 'hands off'; END $$;
        CREATE TRIGGER hands_off BEFORE UPDATE ON scheduled_tasks
            FOR EACH ROW WHEN (NEW.payload = '"mine"') EXECUTE FUNCTION hands_off()
        """
    )
    schedule(connection, ("probe", "mine"))
    task = schedule(connection, ("probe", {}))
    assert [ran.id for ran in run_due(connection, {"probe": Fake()})] == [task]


def test_a_database_without_the_table_is_told_so(empty_dsn: str) -> None:
    with psycopg.connect(empty_dsn) as connection:
        with pytest.raises(MissingTable, match="at-worker init-db creates it"):
            run_due(connection)
        assert connection.execute("SELECT 1").fetchone() == (1,)
