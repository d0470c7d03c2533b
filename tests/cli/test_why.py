"""`at-worker why` on a real database, and with a real worker where that matters."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest

from tests.cli.conftest import AtWorker
from tests.processes import worker
from tests.servers.http import refusing
from tests.store.test_applying import set_default
from tests.tables import Table
from tests.worker.endpoint import Endpoint

Why = Callable[[int], str]
OLDER = """
INSERT INTO scheduled_tasks_presence (holder, worker_id, task_types, version)
VALUES ('w-0/a', 'w-0', '{http_callback}', '1')
"""
LATER = "2099-11-27 16:00+00"

pytestmark = pytest.mark.usefixtures("in_utc")


@pytest.fixture
def why(shared_table: Table, at_worker: AtWorker) -> Why:
    def ask(task: int) -> str:
        told = at_worker("why", str(task), DATABASE_URL=shared_table.dsn)
        assert (told.exit_code, told.stderr, told.stdout.count("\n")) == (0, "", 1)
        return told.stdout.removesuffix("\n")

    return ask


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as started:
        yield started


@pytest.fixture(scope="module")
def crew(shared_table: Table, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    """A table with a worker of two threads for callbacks and mails."""
    settings = {
        "WORKER_CONCURRENCY": "2",
        "WORKER_TASK_TYPES": "http_callback,email",
        "WORKER_STUCK_TIMEOUT": "5s",
        "WORKER_POLLING_INTERVAL": "0.2",
    }
    with worker(shared_table.dsn, tmp_path_factory.mktemp("crew"), **settings) as process:
        process.wait_for_line("Started with polling interval")
        shared_table.wait_for(lambda: shared_table.sql("SELECT FROM scheduled_tasks_workers WHERE alive"))
        yield shared_table
        assert process.stop() == 0


@contextmanager
def held(table: Table, statement: str) -> Iterator[int]:
    """Somebody's open transaction; the number of his server process."""
    with closing(psycopg.connect(table.dsn, application_name="a long look")) as somebody:
        somebody.execute(statement.encode())
        yield somebody.info.backend_pid
        somebody.rollback()


def test_without_a_worker_nothing_runs(tasks: Table, why: Why) -> None:
    due, later = tasks.insert("email"), tasks.insert("email", execute_at=LATER)
    assert re.fullmatch(rf"Task {due} has been due for \S+ m?s, but no worker is alive\.", why(due))
    assert re.fullmatch(
        rf"Task {later} is not due until 2099-11-27 16:00:00, in \d+ d( \d+ h)?, but no worker is alive\.",
        why(later),
    )


def test_a_worker_that_was_not_seen_for_long_is_not_alive(tasks: Table, why: Why) -> None:
    tasks.sql(
        "INSERT INTO scheduled_tasks_presence (holder, worker_id, task_types, version, seen_at)"
        " VALUES ('w-9/a', 'w-9', '{email}', '1.0.0', now() - interval '31 s')"
    )
    assert why(tasks.insert("email")).endswith("no worker is alive.")


def test_who_paused_a_type_since_when_and_why_is_told(tasks: Table, why: Why) -> None:
    task = tasks.insert("email")
    tasks.sql("SELECT at_pause('email', 'it moves')")
    assert re.fullmatch(
        rf"Task {task} has been due for .*, and email has been paused by \w+ since \S+ \S+: it moves\.",
        why(task),
    )


def test_a_task_that_expired_and_nobody_met_yet(tasks: Table, why: Why) -> None:
    task = tasks.insert("email", expires_at="2020-01-01 00:00+00")
    assert why(task) == (
        f"Task {task} expired at 2020-01-01 00:00:00: a worker that meets it marks it as failed."
    )


def test_a_task_whose_worker_died(tasks: Table, why: Why) -> None:
    task = tasks.insert("email", status="processing", locked_by="w-9/a")
    tasks.age(task, 120)
    assert re.search(
        r"is stuck: w-9/a, which claimed it at .*, has given no heartbeat for 2 min.*, and no worker is",
        why(task),
    )


def test_a_task_that_was_cancelled(tasks: Table, why: Why) -> None:
    task = tasks.insert("email")
    tasks.sql("SELECT at_cancel(%(id)s)", id=task)
    assert re.fullmatch(rf"Task {task} was cancelled at \S+ \S+ without an attempt\.", why(task))


def test_a_task_that_is_not_there(tasks: Table, at_worker: AtWorker) -> None:
    told = at_worker("why", "7", DATABASE_URL=tasks.dsn)
    assert (told.exit_code, told.stdout, told.stderr) == (1, "", "Error: task 7 is not there\n")


def test_scripts_get_the_sentence_in_an_object(tasks: Table, at_worker: AtWorker) -> None:
    task = tasks.insert("email", status="failed", error_message="HTTP 410 from x")
    told = json.loads(at_worker("why", str(task), "--json", DATABASE_URL=tasks.dsn).stdout)
    assert (told["id"], told["status"]) == (task, "failed")
    assert told["why"].endswith(": HTTP 410 from x.")


def test_a_task_of_the_future_waits_for_its_time(crew: Table, why: Why) -> None:
    task = crew.insert("email", execute_at=LATER)
    assert re.fullmatch(rf"Task {task} is not due until 2099-11-27 16:00:00, in [^,]*\.", why(task))


def test_a_task_that_runs(crew: Table, why: Why, endpoint: Endpoint) -> None:
    task = crew.insert("http_callback", {"url": f"{endpoint.url}/hold"})
    endpoint.wait_for(1, 10)
    assert re.fullmatch(
        rf"Task {task} runs on w-1/\w+ for \S+ m?s, attempt 1 of 5, with a heartbeat \S+ m?s ago\.", why(task)
    )
    endpoint.release()
    crew.wait(task, "completed")


def test_a_task_that_waits_for_a_thread_and_for_those_before_it(
    crew: Table, why: Why, endpoint: Endpoint
) -> None:
    running = [crew.insert("http_callback", {"url": f"{endpoint.url}/hold"}) for _ in range(2)]
    endpoint.wait_for(2, 10)
    first = crew.insert("http_callback", {"url": endpoint.url})
    busy = "all 2 threads of the worker that takes its type are busy"
    # A worker may have claimed it, and gives it back, where short tasks ended a moment before.
    crew.wait_for(lambda: re.fullmatch(rf"Task {first} has been due for [^:]*: {busy}\.", why(first)))
    crew.insert("http_callback", {"url": endpoint.url}, priority=9)
    second = crew.insert("http_callback", {"url": endpoint.url})
    assert re.search(rf"has been due for .*, behind 2 due tasks: {busy}\.$", why(second))
    # One of a release that does not tell how many it has may have a free one.
    crew.sql(OLDER)
    assert re.search(
        r", behind 2 due tasks, with 2 tasks running on 2 workers for http_callback\.$", why(second)
    )
    crew.sql("DELETE FROM scheduled_tasks_presence WHERE holder = 'w-0/a'")
    endpoint.release()
    for task in (*running, first, second):
        crew.wait(task, "completed")


def test_a_task_that_is_done(crew: Table, why: Why, endpoint: Endpoint) -> None:
    task = crew.insert("http_callback", {"url": endpoint.url})
    crew.wait(task, "completed")
    assert re.fullmatch(
        rf"Task {task} was completed at \S+ \S+ by w-1/\w+: it started \S+ m?s late and took \S+ m?s\.",
        why(task),
    )


def test_a_task_that_failed(crew: Table, why: Why, endpoint: Endpoint) -> None:
    task = crew.insert("http_callback", {"url": f"{endpoint.url}/status/410"})
    crew.wait(task, "failed")
    assert re.search(r"failed at \S+ \S+ after 1 of 5 attempts: HTTP 410 from 127\.0\.0\.1:", why(task))


def test_a_task_that_waits_for_its_next_attempt(crew: Table, why: Why, endpoint: Endpoint) -> None:
    task = crew.insert("http_callback", {"url": f"{endpoint.url}/status/503"})
    crew.wait_for_row(task, lambda row: row["attempts"] == 1)
    assert re.search(
        r"waits for attempt 2 of 5 until \S+ \S+, in \S+ s: HTTP 503 from 127\.0\.0\.1:\d+\.$", why(task)
    )


def test_a_task_that_is_postponed_because_its_destination_is_down(crew: Table, why: Why) -> None:
    with refusing() as port:
        failed = [crew.insert("http_callback", {"url": f"http://127.0.0.1:{port}/"}) for _ in range(5)]
        for task in failed:
            crew.wait_for_row(task, lambda row: row["attempts"] == 1)
        task = crew.insert("http_callback", {"url": f"http://127.0.0.1:{port}/"})
        crew.wait_for_row(task, lambda row: (row["error_message"] or "").startswith("postponed"))
        assert re.search(
            rf"is postponed until \S+ \S+, in .*: cannot connect to 127\.0\.0\.1:{port}: .*refused\.$",
            why(task),
        )
        crew.sql("UPDATE scheduled_tasks SET status = 'cancelled' WHERE status = 'pending'")


def test_a_task_of_a_type_that_no_living_worker_runs(crew: Table, why: Why) -> None:
    task = crew.insert("rabbitmq", {"queue": "q"})
    assert why(task).endswith(", but none of the workers that are alive (1) runs rabbitmq.")


@pytest.mark.parametrize(
    "statement", ["SELECT FROM scheduled_tasks FOR UPDATE", "LOCK TABLE scheduled_tasks IN SHARE MODE"]
)
def test_a_task_that_somebody_holds(statement: str, crew: Table, why: Why, endpoint: Endpoint) -> None:
    (soon,) = crew.sql("SELECT now() + interval '1 s' AS soon")
    task = crew.insert("http_callback", {"url": endpoint.url}, execute_at=soon["soon"])
    with held(crew, statement) as pid:
        crew.wait_for(
            lambda: crew.sql("SELECT FROM scheduled_tasks WHERE execute_at < now() AND id = %(id)s", id=task)
        )
        assert re.search(
            rf"has been due for .*, but PostgreSQL process {pid} of \w+ \(a long look\) holds a lock on it"
            r" since \S+ \S+: workers pass it over\.$",
            why(task),
        )
    crew.wait(task, "completed")


def test_a_length_of_time_is_right_also_where_clocks_were_set_back_meanwhile(
    table: Table, at_worker: AtWorker
) -> None:
    set_default(table.dsn, "TimeZone = 'Europe/Berlin'")
    start = "2026-10-25 00:30Z"
    columns = {"execute_at": start, "started_at": start, "completed_at": "2026-10-25 01:30Z", "attempts": 1}
    task = table.insert("email", status="completed", locked_by="w-1/a", **columns)
    told = at_worker("why", str(task), DATABASE_URL=table.dsn)
    assert told.stdout.endswith(" by w-1/a: it started 0 ms late and took 1 h.\n")


def test_a_monitor_may_ask(table: Table, login: Callable[[str], str], at_worker: AtWorker) -> None:
    task = table.insert("email")
    told = at_worker("why", str(task), DATABASE_URL=login("at_monitor"))
    assert (told.exit_code, told.stderr) == (0, "")
    assert told.stdout.endswith("but no worker is alive.\n")
