import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.conftest import AtWorker
from tests.tables import Table

LATER = "2099-05-17 09:30+00"


def test_running_coming_and_failed_tasks_are_listed_in_that_order(tasks: Table, at_worker: AtWorker) -> None:
    failed = tasks.insert("email", status="failed")
    later = tasks.insert("email", execute_at=LATER)
    sooner = tasks.insert("email", execute_at="2098-05-17 09:30+00")
    running = tasks.insert("email", status="processing", locked_by="w-1/x")
    tasks.insert("email", status="completed", completed_at=datetime.now(UTC))
    told = at_worker("list", DATABASE_URL=tasks.dsn)
    assert (told.exit_code, told.stderr) == (0, "")
    head, *lines = told.stdout.splitlines()
    assert head.split() == ["ID", "STATUS", "WHEN", "TYPE", "WHAT", "NOTE"]
    assert [int(line.split()[0]) for line in lines] == [running, sooner, later, failed]


def test_of_each_status_the_first_are_listed_and_more_are_announced(
    tasks: Table, at_worker: AtWorker
) -> None:
    for _ in range(3):
        tasks.insert("email")
    failed = tasks.insert("email", status="failed")
    told = at_worker("list", "--limit", "2", "--json", DATABASE_URL=tasks.dsn)
    assert [json.loads(line)["id"] for line in told.stdout.splitlines()] == [1, 2, failed]
    assert told.stderr == "More than 2 are pending; --limit shows more.\n"
    told = at_worker("list", "--limit", "0", "--json", DATABASE_URL=tasks.dsn)
    assert (len(told.stdout.splitlines()), told.stderr) == (4, "")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--status", "completed"], ["done"]),
        (["--status", "failed", "--status", "completed"], ["broken", "done"]),
        (["--all"], ["soon", "later", "done", "broken"]),
        (["--type", "teleport"], ["later"]),
        (["--key", "k-1"], ["soon"]),
        (["--search", "NEEDLE"], ["later"]),
        (["--search", "checkout"], ["soon"]),
        (["--after", "2098-01-01 00:00"], ["later"]),
        (["--before", "now - 1 hour", "--all"], ["broken"]),
    ],
    ids=str,
)
def test_only_what_is_asked_for_is_listed(
    options: list[str], expected: list[str], tasks: Table, at_worker: AtWorker
) -> None:
    now = datetime.now(UTC)
    names = {
        tasks.insert("email", dedupe_key="k-1", context='{"by": "checkout"}'): "soon",
        tasks.insert("teleport", {"to": "a Needle"}, execute_at=LATER): "later",
        tasks.insert("email", status="completed", completed_at=now): "done",
        tasks.insert("email", status="failed", execute_at=now - timedelta(days=1)): "broken",
    }
    told = at_worker("list", *options, "--json", DATABASE_URL=tasks.dsn)
    assert [names[json.loads(line)["id"]] for line in told.stdout.splitlines()] == expected


@pytest.mark.parametrize(
    ("task_type", "payload", "about"),
    [
        ("http_callback", {"url": "https://x.org/a?token=hunter2"}, "POST https://x.org/a?token=***"),
        ("http_callback", {"url": "https://x.org/", "method": "put"}, "PUT https://x.org/"),
        ("rabbitmq", {"queue": "orders"}, "orders"),
        ("rabbitmq", {"exchange": "shop", "routing_key": "orders.paid"}, "shop orders.paid"),
        ("email", {"to": "ann@example.org", "subject": "Hello"}, "ann@example.org: Hello"),
        ("teleport", [1, "two"], '[1, "two"]'),
    ],
)
def test_a_line_says_what_a_task_is_about(
    task_type: str, payload: object, about: str, tasks: Table, at_worker: AtWorker
) -> None:
    tasks.insert(task_type, payload)
    told = at_worker("list", DATABASE_URL=tasks.dsn)
    assert about in told.stdout
    assert "hunter2" not in told.stdout


def test_a_line_says_what_is_the_matter_with_a_task(tasks: Table, at_worker: AtWorker) -> None:
    tasks.insert("email", execute_at=datetime.now(UTC) - timedelta(hours=2))
    tasks.insert("email", status="processing", locked_by="w-1/x")
    tasks.insert("email", status="failed", attempts=5, error_message="HTTP 410 from example.org")
    told = at_worker("list", DATABASE_URL=tasks.dsn).stdout
    for note in ("due for 2 h", "runs on w-1/x", "5 of 5 attempts; HTTP 410 from example.org"):
        assert f"{note}\n" in told


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_no_control_character_of_a_row_reaches_the_terminal(
    options: tuple[str, ...], tasks: Table, at_worker: AtWorker
) -> None:
    hostile = "a\x1b[2J\x9b31m\r\n\u202eb"
    tasks.insert(hostile, {"x": hostile}, error_message=hostile, locked_by=hostile, status="failed")
    told = at_worker("list", *options, DATABASE_URL=tasks.dsn).stdout
    assert all(character.isprintable() or character == "\n" for character in told)
    assert told.count("\n") == (1 if options else 2)


def test_scripts_get_one_object_a_line_with_times_in_utc(tasks: Table, at_worker: AtWorker) -> None:
    task = tasks.insert("email", execute_at=LATER, priority=9, dedupe_key="k", attempts=1, error_message="é")
    (line,) = at_worker("list", "--json", DATABASE_URL=tasks.dsn).stdout.splitlines()
    told = json.loads(line)
    assert told["execute_at"] == "2099-05-17T09:30:00Z"
    assert (told["id"], told["priority"], told["dedupe_key"], told["error_message"]) == (task, 9, "k", "é")


def test_nothing_to_list_is_said_on_stderr(tasks: Table, at_worker: AtWorker) -> None:
    told = at_worker("list", DATABASE_URL=tasks.dsn)
    assert (told.exit_code, told.stdout, told.stderr) == (0, "", "There is no such task.\n")


def test_a_time_that_is_not_understood_is_one_line(tasks: Table, at_worker: AtWorker) -> None:
    told = at_worker("list", "--after", "tomorow", DATABASE_URL=tasks.dsn)
    assert told.exit_code == 2
    assert told.stderr == "Error: 'tomorow': 'tomorow' is not understood; is 'tomorrow' meant?\n"


@pytest.mark.usefixtures("in_utc")
def test_atq_lists_in_the_form_of_at(tasks: Table, at_worker: AtWorker) -> None:
    tasks.insert("email", execute_at="2099-05-07 09:30+00", priority=7)
    tasks.insert("email", execute_at="2020-05-17 09:30+00", status="processing")
    tasks.insert("email", status="failed")
    told = at_worker("atq", DATABASE_URL=tasks.dsn)
    assert told.stdout == "2\tSun May 17 09:30:00 2020 = email\n1\tThu May  7 09:30:00 2099 7 email\n"
