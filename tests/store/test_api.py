"""The functions and views of sql/ddl.sql, as programs in any language call them."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from threading import Barrier

import psycopg
import pytest
from psycopg.types.json import Jsonb

from at_worker.outcome import Settlement, Status
from at_worker.store.database import Database
from at_worker.store.queue import Queue
from tests.store import ddl
from tests.tables import PATIENCE, Table

LATER = "2999-01-01 00:00+00"
STATUSES = [status.value for status in Status]
# What differs from one row to the next, however it was inserted.
OF_EACH_ROW = {"id", "task_uid", "created_at", "updated_at"}


def schedule(
    connection: psycopg.Connection, payload: object = None, execute_at: str = LATER, **options: object
) -> int:
    row = connection.execute(
        "SELECT at_schedule('probe', %s, %s, %s)", [Jsonb(payload), execute_at, Jsonb(options)]
    ).fetchone()
    assert row is not None
    return int(row[0])


def scheduled(table: Table, payload: object = None, execute_at: str = LATER, **options: object) -> int:
    """Schedule over a connection of its own; returns the id."""
    with psycopg.connect(table.dsn) as connection:
        return schedule(connection, payload, execute_at, **options)


def count(table: Table, key: str) -> int:
    (row,) = table.sql("SELECT count(*) AS rows FROM scheduled_tasks WHERE dedupe_key = %(key)s", key=key)
    return int(row["rows"])


def comparable(table: Table, task: int) -> dict[str, object]:
    return {name: value for name, value in table.row(task).items() if name not in OF_EACH_ROW}


def test_the_shortest_call_makes_the_row_of_the_shortest_insert(table: Table) -> None:
    with psycopg.connect(table.dsn) as connection:
        ids = [
            connection.execute(statement).fetchone()
            for statement in (
                b"INSERT INTO scheduled_tasks (task_type, payload) VALUES ('probe', '{}') RETURNING id",
                b"SELECT at_schedule('probe', '{}')",
            )
        ]
    inserted, called = (comparable(table, task) for (task,) in filter(None, ids))
    assert called == inserted


def test_every_option_sets_its_column(shared: Table) -> None:
    row = shared.row(
        scheduled(
            shared,
            {"n": 1},
            priority=9,
            expires_at="2999-01-02T00:00:00Z",
            max_attempts=3,
            retry_delays=["10 s", "5 min"],
            dedupe_key="every option",
            context={"by": None},
        )
    )
    assert (row["task_type"], row["payload"]) == ("probe", {"n": 1})
    assert (row["priority"], row["max_attempts"], row["dedupe_key"]) == (9, 3, "every option")
    assert row["execute_at"] == datetime(2999, 1, 1, tzinfo=UTC)
    assert row["expires_at"] == datetime(2999, 1, 2, tzinfo=UTC)
    assert row["retry_delays"] == [timedelta(seconds=10), timedelta(minutes=5)]
    assert row["context"] == {"by": None}


def test_an_option_that_is_null_counts_as_absent(shared: Table) -> None:
    names = (
        "priority",
        "expires_at",
        "max_attempts",
        "retry_delays",
        "dedupe_key",
        "context",
        "on_duplicate",
    )
    task = scheduled(shared, None, LATER, **dict.fromkeys(names))
    assert comparable(shared, task) == comparable(shared, scheduled(shared))


def test_unknown_options_are_named_beside_the_known_ones(shared: Table) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue) as refused:
        scheduled(shared, priorty=9, priority=9, key="a")
    assert refused.value.diag.message_primary == (
        "at_schedule has no option key, priorty; it has priority, expires_at, max_attempts, retry_delays,"
        " dedupe_key, context, on_duplicate"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"priority": "high"}, 'smallint: "high"'),
        ({"priority": 10}, "scheduled_tasks_priority"),
        ({"max_attempts": 0}, "scheduled_tasks_counters"),
        ({"retry_delays": ["soon"]}, 'interval: "soon"'),
        ({"retry_delays": "10 s"}, 'array literal: "10 s"'),
        ({"expires_at": "never"}, 'timestamp with time zone: "never"'),
        ({"on_duplicate": "skip"}, "on_duplicate must be ignore, replace or error, not skip"),
    ],
    ids=str,
)
def test_a_wrong_value_is_named(shared: Table, options: dict[str, object], said: str) -> None:
    with pytest.raises(psycopg.Error, match=said):
        scheduled(shared, None, LATER, **options)


@pytest.mark.parametrize("options", ["[]", "null", '"ignore"', None])
def test_options_must_be_an_object(shared: Table, options: str | None) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="must be a JSON object"):
        shared.sql("SELECT at_schedule('probe', '{}', now(), %(options)s)", options=options)


def test_a_time_that_is_null_is_a_mistake_and_not_now(shared: Table) -> None:
    with pytest.raises(psycopg.errors.NotNullViolation):
        shared.sql("SELECT at_schedule('probe', '{}', NULL)")


@pytest.mark.parametrize("status", ["pending", "processing", "completed"])
def test_ignore_is_the_default_and_returns_the_row_that_is_there(shared: Table, status: str) -> None:
    task = shared.insert(status=status, dedupe_key=f"ignored {status}", execute_at=LATER)
    before = shared.row(task)
    assert scheduled(shared, "new", dedupe_key=f"ignored {status}") == task
    assert scheduled(shared, "new", dedupe_key=f"ignored {status}", on_duplicate="ignore") == task
    assert shared.row(task) == before


@pytest.mark.parametrize("mode", ["ignore", "replace", "error"])
@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_the_key_of_a_row_that_came_to_nothing_is_free(shared: Table, status: str, mode: str) -> None:
    key = f"free {status} {mode}"
    task = shared.insert(status=status, dedupe_key=key)
    assert scheduled(shared, dedupe_key=key, on_duplicate=mode) > task
    assert count(shared, key) == 2


@pytest.mark.parametrize("status", ["pending", "processing", "completed"])
def test_error_raises_the_violation_that_an_insert_would(shared: Table, status: str) -> None:
    task = shared.insert(status=status, dedupe_key=f"error {status}", execute_at=LATER)
    with pytest.raises(psycopg.errors.UniqueViolation, match=f"task {task} has the dedupe_key") as refused:
        scheduled(shared, dedupe_key=f"error {status}", on_duplicate="error")
    assert refused.value.diag.constraint_name == "scheduled_tasks_dedupe_key"


def test_replace_makes_another_task_of_a_pending_row(shared: Table) -> None:
    task = shared.insert(
        "email",
        {"old": True},
        execute_at="2998-01-01",
        original_execute_at="2997-01-01",
        expires_at=LATER,
        priority=1,
        attempts=2,
        max_attempts=9,
        retry_delays=["1 s"],
        error_message="HTTP 503",
        result=Jsonb({"accepted": ["ann@example.org"]}),
        dedupe_key="replaced",
        context=Jsonb({"old": True}),
    )
    uid = shared.row(task)["task_uid"]
    assert scheduled(shared, "new", dedupe_key="replaced", on_duplicate="replace") == task
    assert comparable(shared, task) == {
        **comparable(shared, scheduled(shared, "new")),
        "dedupe_key": "replaced",
    }
    assert shared.row(task)["task_uid"] != uid


@pytest.mark.parametrize("status", ["processing", "completed"])
def test_replace_refuses_a_row_that_was_started(shared: Table, status: str) -> None:
    task = shared.insert(status=status, dedupe_key=f"started {status}")
    before = shared.row(task)
    with pytest.raises(psycopg.errors.UniqueViolation, match=f"task {task} .* it cannot be replaced"):
        scheduled(shared, dedupe_key=f"started {status}", on_duplicate="replace")
    assert shared.row(task) == before


def test_replace_inserts_where_nothing_is_there(shared: Table) -> None:
    task = scheduled(shared, dedupe_key="nothing there", on_duplicate="replace")
    assert shared.row(task)["status"] == "pending"


def test_an_id_that_somebody_chose_by_hand_is_stepped_over(table: Table) -> None:
    task = table.insert(id=1)
    assert scheduled(table) > task


def test_an_index_of_ones_own_that_keeps_the_task_out_is_told(table: Table) -> None:
    table.sql("CREATE UNIQUE INDEX ON scheduled_tasks (task_type)")
    scheduled(table)
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="another unique index"):
        scheduled(table, dedupe_key="kept out")


@pytest.mark.parametrize("isolation", [None, psycopg.IsolationLevel.REPEATABLE_READ], ids=str)
@pytest.mark.parametrize("mode", ["ignore", "replace"])
def test_a_second_call_in_one_transaction_finds_the_row_of_the_first(
    shared: Table, mode: str, isolation: psycopg.IsolationLevel | None
) -> None:
    key = f"one transaction {mode} {isolation}"
    with psycopg.connect(shared.dsn) as connection:
        connection.isolation_level = isolation
        first, second = (schedule(connection, dedupe_key=key, on_duplicate=mode) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("mode", ["ignore", "replace"])
def test_who_schedules_a_key_that_another_session_has_just_inserted_gets_its_row(
    table: Table, mode: str
) -> None:
    with ThreadPoolExecutor() as threads, psycopg.connect(table.dsn) as other:
        task = schedule(other, "other", dedupe_key="key")
        waiting = threads.submit(scheduled, table, "mine", dedupe_key="key", on_duplicate=mode)
        ddl.wait_until_blocked(table.dsn)
        other.commit()
        assert waiting.result() == task
    assert count(table, "key") == 1
    assert table.row(task)["payload"] == {"ignore": "other", "replace": "mine"}[mode]


@pytest.mark.parametrize("mode", ["ignore", "replace", "error"])
def test_who_schedules_a_key_that_another_session_takes_back_inserts_it(table: Table, mode: str) -> None:
    with ThreadPoolExecutor() as threads, psycopg.connect(table.dsn) as other:
        task = schedule(other, "other", dedupe_key="key")
        waiting = threads.submit(scheduled, table, "mine", dedupe_key="key", on_duplicate=mode)
        ddl.wait_until_blocked(table.dsn)
        other.rollback()
        assert waiting.result() != task
    assert count(table, "key") == 1


def test_sessions_that_schedule_the_same_keys_at_once_agree_on_one_row_each(table: Table) -> None:
    together = Barrier(4)

    def run(mode: str) -> list[int]:
        with psycopg.connect(table.dsn, autocommit=True) as connection:
            together.wait(PATIENCE)
            return [schedule(connection, dedupe_key=f"key {n}", on_duplicate=mode) for n in range(100)]

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(run, ["ignore", "replace", "ignore", "replace"]))
    assert answers == [answers[0]] * 4
    assert table.sql("SELECT count(*) AS rows FROM scheduled_tasks") == [{"rows": 100}]


# What a claim, a person and a worker do to the row while replace waits for it, and what comes of that.
@pytest.mark.parametrize(
    ("change", "replaced"),
    [
        ("status = 'processing', claim_seq = claim_seq + 1, updated_at = now()", None),
        ("status = 'completed'", None),
        ("status = 'cancelled'", "another row"),
        ("priority = 9", "the row"),
        ("dedupe_key = 'renamed'", "another row"),
    ],
)
def test_replace_sees_what_happened_to_the_row_while_it_waited(
    table: Table, change: str, replaced: str | None
) -> None:
    task = table.insert(dedupe_key="key", execute_at=LATER)
    with ThreadPoolExecutor() as threads, psycopg.connect(table.dsn) as other:
        other.execute(f"UPDATE scheduled_tasks SET {change} WHERE id = {task}".encode())  # noqa: S608
        waiting = threads.submit(scheduled, table, "new", dedupe_key="key", on_duplicate="replace")
        ddl.wait_until_blocked(table.dsn)
        other.commit()
        if replaced is None:
            with pytest.raises(psycopg.errors.UniqueViolation, match="it cannot be replaced"):
                waiting.result()
        else:
            assert (waiting.result() == task) == (replaced == "the row")
            assert table.row(waiting.result())["payload"] == "new"


def test_a_claim_and_replace_never_both_have_the_row(table: Table) -> None:
    """Each task that was replaced in time runs as it was replaced, and each that was not says so."""
    tasks = [table.insert(payload="old", dedupe_key=str(n)) for n in range(200)]
    ran: dict[int, str] = {}
    answers: dict[int, bool] = {}
    together = Barrier(2)

    def claim() -> None:
        with closing(Database(table.settings())) as database:
            database.open()
            queue = Queue(database, "w/boot", None, survey_interval=0)
            together.wait(PATIENCE)
            while len(ran) < len(tasks):
                batch = queue.claim(5, 0).tasks
                ran.update({task.claim.id: task.payload for task in batch})
                queue.settle([Settlement(task, Status.COMPLETED) for task in batch])

    def replace() -> None:
        with psycopg.connect(table.dsn, autocommit=True) as connection:
            together.wait(PATIENCE)
            for n, task in reversed(list(enumerate(tasks))):
                try:
                    found = schedule(
                        connection, "new", "2000-01-01", dedupe_key=str(n), on_duplicate="replace"
                    )
                    answers[task] = found == task
                except psycopg.errors.UniqueViolation:
                    answers[task] = False

    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(claim), threads.submit(replace)]:
            done.result(PATIENCE)
    assert {task: payload == '"new"' for task, payload in ran.items()} == answers


@pytest.mark.parametrize("execute_at", ["now", "2020-01-01"])
def test_what_is_scheduled_or_replaced_is_announced_like_an_insert(table: Table, execute_at: str) -> None:
    with psycopg.connect(table.dsn, autocommit=True) as listener:
        listener.execute("LISTEN scheduled_tasks")
        table.insert(execute_at=execute_at)
        (inserted,) = listener.notifies(timeout=PATIENCE, stop_after=1)
        scheduled(table, execute_at=execute_at)
        (called,) = listener.notifies(timeout=PATIENCE, stop_after=1)
        scheduled(table, dedupe_key="far")
        scheduled(table, execute_at=execute_at, dedupe_key="far", on_duplicate="replace")
        (replaced,) = listener.notifies(timeout=PATIENCE, stop_after=1)
    words = [message.payload.split(" ") for message in (inserted, called, replaced)]
    assert [word[1:] for word in words] == [["5", "probe"]] * 3
    assert all(word[0].endswith("!") for word in words)
    assert (execute_at != "now") == (words == [["0!", "5", "probe"]] * 3)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(
    ("call", "change", "on"),
    [
        ("at_cancel({})", "status = 'cancelled'", {"pending", "processing"}),
        ("at_reschedule({}, '2998-01-01')", "execute_at = '2998-01-01'", {"pending"}),
        ("at_retry({})", "status = 'pending', attempts = 0, execute_at = now()", {"failed", "cancelled"}),
    ],
)
def test_a_call_is_the_update_of_the_contract_and_says_whether_it_did_something(
    shared: Table, call: str, change: str, on: set[str], status: str
) -> None:
    columns = {"status": status, "attempts": 5, "execute_at": LATER, "expires_at": "2000-01-01"}
    called, updated, untouched = (shared.insert("probe", None, **columns) for _ in range(3))
    with psycopg.connect(shared.dsn) as connection:
        answer = connection.execute(f"SELECT {call.format(called)}".encode()).fetchone()
        connection.execute(f"UPDATE scheduled_tasks SET {change} WHERE id = {updated}".encode())  # noqa: S608
    assert answer == (status in on,)
    assert comparable(shared, called) == comparable(shared, updated if status in on else untouched)


@pytest.mark.parametrize("call", ["at_cancel(0)", "at_reschedule(0, now())", "at_retry(0)"])
def test_a_call_for_a_task_that_is_not_there_says_so(shared: Table, call: str) -> None:
    with psycopg.connect(shared.dsn) as connection:
        assert connection.execute(f"SELECT {call}".encode()).fetchone() == (False,)


def test_a_task_whose_key_was_used_again_cannot_be_retried(shared: Table) -> None:
    task = shared.insert(status="failed", dedupe_key="used again")
    scheduled(shared, dedupe_key="used again")
    with pytest.raises(psycopg.errors.UniqueViolation):
        shared.sql("SELECT at_retry(%(id)s)", id=task)


def test_a_retried_task_can_be_given_another_time_in_the_same_transaction(shared: Table) -> None:
    task = shared.insert(status="failed", attempts=5)
    with psycopg.connect(shared.dsn) as connection:
        connection.execute("SELECT at_retry(%s)", [task])
        moved = connection.execute("SELECT at_reschedule(%s, %s)", [task, LATER]).fetchone()
    assert moved == (True,)
    assert shared.row(task)["execute_at"] == datetime(2999, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        ("due", {"late pending"}),
        ("running", {"processing"}),
        ("failed", {"failed"}),
    ],
)
def test_a_view_shows_what_its_name_says(table: Table, view: str, expected: set[str]) -> None:
    for status in STATUSES:
        table.insert(task_type=status, status=status, execute_at=LATER)
    table.insert(task_type="late pending", execute_at="2020-01-01")
    with psycopg.connect(table.dsn) as connection:
        found = connection.execute(f"SELECT task_type FROM scheduled_tasks_{view}".encode()).fetchall()  # noqa: S608
    assert {row[0] for row in found} == expected


def test_the_views_tell_since_when(table: Table) -> None:
    table.sql("SET TimeZone = 'UTC'")  # where each of the days that it counts has 24 hours
    task = table.insert(status="processing", started_at="2020-01-01", updated_at="2020-01-02")
    table.insert(execute_at="2020-01-01")
    table.insert(status="failed", updated_at="2020-01-03")
    assert table.sql("SELECT now() - late AS since FROM scheduled_tasks_due") == table.sql(
        "SELECT execute_at AS since FROM scheduled_tasks WHERE status = 'pending'"
    )
    assert table.sql(
        "SELECT now() - running AS started_at, now() - since_heartbeat AS updated_at"
        " FROM scheduled_tasks_running"
    ) == [{name: table.row(task)[name] for name in ("started_at", "updated_at")}]
    assert table.sql("SELECT failed_at::date::text AS day FROM scheduled_tasks_failed") == [
        {"day": "2020-01-03"}
    ]


def test_each_function_can_be_called_from_psql(table: Table) -> None:
    done = ddl.psql(
        table.dsn,
        "--tuples-only",
        "--no-align",
        "--command=SELECT at_schedule('probe', '{}', execute_at => '2999-01-01')",
        "--command=SELECT at_schedule('probe', '{}', options => '{\"priority\": 9}')",
        "--command=SELECT at_reschedule(1, now() + interval '1 hour')",
        "--command=SELECT at_cancel(1)",
        "--command=SELECT at_retry(1)",
        "--command=SELECT at_retry(1)",
    )
    assert (done.stdout.split(), done.stderr) == (["1", "2", "t", "t", "t", "f"], "")
