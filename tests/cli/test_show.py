import json
from collections.abc import Callable

import pytest
from psycopg.types.json import Jsonb

from tests.cli.conftest import AtWorker
from tests.tables import Table

SECRETS = {"url": "https://x.org/?token=hunter22", "auth": {"bearer": "hunter22"}, "data": {"total": 19.9}}
ATTEMPTS = """
INSERT INTO scheduled_tasks_attempts
       (task_id, attempt, worker, started_at, ended_at, outcome, error_message, result) VALUES
       (1, 1, 'w-1/a', now() - interval '9 min', now() - interval '8 min', 'lost', 'lost: it died', NULL),
       (1, 2, 'w-2/b', now() - interval '5 min', now() - interval '299 s', 'retry', 'HTTP 503 from x.org',
        '{"status": 503, "body": "busy"}')
"""


@pytest.fixture
def told_of(tasks: Table) -> Table:
    """A table with one task that has a past."""
    tasks.insert(
        "http_callback",
        SECRETS,
        attempts=2,
        execute_at="2099-11-27 16:00+00",
        error_message="HTTP 503 from x.org",
        dedupe_key="order-42",
        context=Jsonb({"by": "ann"}),
        result=Jsonb({"status": 503, "body": "busy"}),
        retry_delays=["10 s", "5 min"],
    )
    tasks.sql(ATTEMPTS)
    return tasks


@pytest.mark.usefixtures("in_utc")
def test_everything_about_a_task_is_shown(told_of: Table, at_worker: AtWorker) -> None:
    told = at_worker("show", "1", DATABASE_URL=told_of.dsn)
    assert (told.exit_code, told.stderr) == (0, "")
    first, *lines = told.stdout.splitlines()
    assert first.startswith("Task 1 waits for attempt 3 of 5 until 2099-11-27 16:00:00, in ")
    row = dict(line.split(maxsplit=1) for line in lines[1 : lines.index("payload:") - 1])
    assert row["dedupe_key"] == "order-42"
    assert row["execute_at"] == "2099-11-27 16:00:00.000+00:00"
    assert row["retry_delays"] == "10 s, 5 min"
    assert row["error_message"] == "HTTP 503 from x.org"
    assert '"total": 19.9' in told.stdout
    assert '"by": "ann"' in told.stdout
    assert '"body": "busy"' in told.stdout
    assert "hunter22" not in told.stdout
    head, *past = lines[-3:]
    assert head.split() == ["ATTEMPT", "OUTCOME", "STARTED", "TOOK", "WORKER", "ERROR"]
    assert [line.split()[:2] for line in past] == [["1", "lost"], ["2", "retry"]]
    assert past[1].endswith("1 s  w-2/b   HTTP 503 from x.org")


def test_scripts_get_one_object_with_the_attempts(told_of: Table, at_worker: AtWorker) -> None:
    (line,) = at_worker("show", "1", "--json", DATABASE_URL=told_of.dsn).stdout.splitlines()
    told = json.loads(line)
    assert told["payload"] == {
        "url": "https://x.org/?token=***",
        "auth": {"bearer": "***"},
        "data": {"total": 19.9},
    }
    assert (told["execute_at"], told["retry_delays"]) == ("2099-11-27T16:00:00Z", [10.0, 300.0])
    assert told["task_uid"] == str(told_of.row(1)["task_uid"])
    lost, failed = told["past_attempts"]
    assert (lost["outcome"], lost["result"]) == ("lost", None)
    assert (failed["worker"], failed["result"]) == ("w-2/b", {"status": 503, "body": "busy"})


def test_every_column_is_there(told_of: Table, at_worker: AtWorker) -> None:
    told = json.loads(at_worker("show", "1", "--json", DATABASE_URL=told_of.dsn).stdout)
    assert set(told) == {*told_of.row(1), "past_attempts"}


def test_no_control_character_of_a_row_reaches_the_terminal(tasks: Table, at_worker: AtWorker) -> None:
    hostile = "a\x1b[2J\x9b31m\r\u202eb"
    tasks.insert(hostile, {hostile: hostile}, error_message=hostile, locked_by=hostile, status="failed")
    for options in ((), ("--json",)):
        told = at_worker("show", "1", *options, DATABASE_URL=tasks.dsn).stdout
        assert all(character.isprintable() or character == "\n" for character in told)


def test_a_payload_that_no_parser_reads_is_shown_as_it_stands(tasks: Table, at_worker: AtWorker) -> None:
    tasks.sql(
        "INSERT INTO scheduled_tasks (task_type, payload) VALUES ('email', ('1' || repeat('0', 5000))::jsonb)"
    )
    assert "1" + "0" * 5000 in at_worker("show", "1", DATABASE_URL=tasks.dsn).stdout


def test_a_task_that_is_not_there_is_told(tasks: Table, at_worker: AtWorker) -> None:
    told = at_worker("show", "7", DATABASE_URL=tasks.dsn)
    assert (told.exit_code, told.stdout, told.stderr) == (1, "", "Error: task 7 is not there\n")


@pytest.mark.parametrize("arguments", [("show", "1"), ("list",)])
def test_a_monitor_sees_all_but_what_tasks_carry(
    arguments: tuple[str, ...], table: Table, login: Callable[[str], str], at_worker: AtWorker
) -> None:
    table.insert("http_callback", SECRETS, dedupe_key="order-42", error_message="HTTP 503 from x.org")
    table.sql(ATTEMPTS)
    told = at_worker(*arguments, DATABASE_URL=login("at_monitor"))
    assert told.exit_code == 0
    assert "HTTP 503 from x.org" in told.stdout
    assert "x.org/" not in told.stdout
    assert "order-42" not in told.stdout
    assert told.stderr == "Your role may not see payload, context, dedupe_key and result.\n"


def test_a_monitor_that_searches_is_told_what_is_missing(
    table: Table, login: Callable[[str], str], at_worker: AtWorker
) -> None:
    table.insert("email")
    told = at_worker("list", "--search", "order", DATABASE_URL=login("at_monitor"))
    assert told.exit_code == 3
    assert told.stderr.startswith(
        "Error: permission denied for table scheduled_tasks; that takes the rights of"
    )
