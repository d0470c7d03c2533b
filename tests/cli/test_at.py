import json
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from click.testing import Result

from tests.cli.conftest import AtWorker
from tests.processes import command
from tests.tables import Table

URL = "https://example.org/paid"
HTTP = ("--http", URL)


@pytest.fixture
def at(tasks: Table, at_worker: AtWorker) -> AtWorker:
    def run(*arguments: str, stdin: str | bytes | None = None, **settings: str) -> Result:
        return at_worker("at", *arguments, stdin=stdin, **{"DATABASE_URL": tasks.dsn, **settings})

    return run


def test_it_answers_as_at_does_on_stderr(tasks: Table, at: AtWorker, in_zone: Callable[[str], None]) -> None:
    in_zone("Europe/Berlin")
    told = at("4pm", "Nov", "27,", "2099", *HTTP)
    assert (told.exit_code, told.stdout) == (0, "")
    assert told.stderr == "job 1 at Fri Nov 27 16:00:00 2099\n"
    row = tasks.row(1)
    assert (row["execute_at"], row["status"]) == (datetime(2099, 11, 27, 15, 0, tzinfo=UTC), "pending")


def test_scripts_get_the_id_on_stdout(at: AtWorker) -> None:
    told = at("2099-11-27T16:00Z", *HTTP, "--json")
    assert (told.stderr, json.loads(told.stdout)) == (
        "",
        {"id": 1, "is_new": True, "execute_at": "2099-11-27T16:00:00Z"},
    )


def test_it_counts_in_whole_minutes_as_at_does(tasks: Table, at: AtWorker) -> None:
    tasks.sql("SET TimeZone = 'UTC'")
    (before,) = tasks.sql("SELECT now()")
    at("now", "+", "1", "minute", *HTTP)
    row = tasks.row(1)
    # The minute may end between its look at the clock and its insert.
    assert before["now"] < row["execute_at"] <= row["created_at"] + timedelta(minutes=1)
    assert row["execute_at"].second == 0


def test_a_time_as_for_at_t(tasks: Table, at: AtWorker, in_zone: Callable[[str], None]) -> None:
    in_zone("Asia/Tokyo")
    assert at("-t", "209911271600.30", *HTTP).stderr == "job 1 at Fri Nov 27 16:00:30 2099\n"
    assert tasks.row(1)["execute_at"] == datetime(2099, 11, 27, 7, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("options", "task_type", "payload"),
    [
        (HTTP, "http_callback", {"url": URL}),
        ((*HTTP, "--data", '{"n": 1.50}'), "http_callback", {"url": URL, "data": {"n": 1.5}}),
        ((*HTTP, "--data", "[]"), "http_callback", {"url": URL, "data": []}),
        ((*HTTP, "--text", "<a/>"), "http_callback", {"url": URL, "data": "<a/>"}),
        (
            (*HTTP, "--method", "PUT", "--header", "X-Shop: north", "--header", "X-A:b", "--timeout", "2.5"),
            "http_callback",
            {"url": URL, "method": "PUT", "headers": {"X-Shop": "north", "X-A": "b"}, "timeout": 2.5},
        ),
        (
            (*HTTP, "--bearer", "SHOP", "--sign", "SIGNING"),
            "http_callback",
            {"url": URL, "auth": {"bearer": {"$secret": "SHOP"}}, "sign": {"$secret": "SIGNING"}},
        ),
        (("--rabbitmq", "orders", "--data", "7"), "rabbitmq", {"queue": "orders", "data": 7}),
        (
            ("--exchange", "shop", "--routing-key", "paid", "--set", "priority=5", "--set", "type=order"),
            "rabbitmq",
            {"exchange": "shop", "routing_key": "paid", "priority": 5, "type": "order"},
        ),
        (
            ("--email", "ann@example.org", "--subject", "Hello", "--body", ""),
            "email",
            {"to": "ann@example.org", "subject": "Hello", "body": ""},
        ),
        (
            (
                "--email",
                "a@x.org",
                "--email",
                "b@x.org",
                "--subject",
                "s",
                "--body",
                "b",
                "--set",
                "cc=c@x.org",
            ),
            "email",
            {"to": ["a@x.org", "b@x.org"], "subject": "s", "body": "b", "cc": "c@x.org"},
        ),
        (
            ("--type", "email", "--payload", '{"to": "a@x.org", "subject": "s"}', "--set", "body=b"),
            "email",
            {"to": "a@x.org", "subject": "s", "body": "b"},
        ),
    ],
)
def test_options_become_a_payload(
    options: tuple[str, ...], task_type: str, payload: object, tasks: Table, at: AtWorker
) -> None:
    told = at("noon", *options)
    assert told.exit_code == 0, told.stderr
    row = tasks.row(1)
    assert (row["task_type"], row["payload"]) == (task_type, payload)


def test_every_digit_of_a_number_survives(tasks: Table, at: AtWorker) -> None:
    at("noon", *HTTP, "--data", "19.90000000000000000001")
    assert tasks.sql("SELECT payload->>'data' AS data FROM scheduled_tasks") == [
        {"data": "19.90000000000000000001"}
    ]


def test_every_column_has_an_option(tasks: Table, at: AtWorker) -> None:
    told = at(
        *("2099-11-27T16:00Z", *HTTP, "--key", "order-42", "--priority", "9", "--max-attempts", "1"),
        *("--expires", "2099-11-28T16:00Z", "--retry-delays", "10s,1.5m", "--context", '{"by": "ann"}'),
    )
    assert told.exit_code == 0
    row = tasks.row(1)
    assert (row["dedupe_key"], row["priority"], row["max_attempts"]) == ("order-42", 9, 1)
    assert row["expires_at"] == datetime(2099, 11, 28, 16, 0, tzinfo=UTC)
    assert row["retry_delays"] == [timedelta(seconds=10), timedelta(seconds=90)]
    assert row["context"] == {"by": "ann"}


def test_what_is_long_or_secret_comes_from_files_and_standard_input(
    tasks: Table, at: AtWorker, tmp_path: Path
) -> None:
    (tmp_path / "order.json").write_text('{"grün": 1}', encoding="utf-8")
    (tmp_path / "auth.json").write_text('{"bearer": "token"}', encoding="utf-8")
    assert at("noon", *HTTP, "--data", "@order.json", "--set", "auth=@auth.json").exit_code == 0
    assert tasks.row(1)["payload"] == {"url": URL, "data": {"grün": 1}, "auth": {"bearer": "token"}}
    assert at("noon", "--rabbitmq", "q", "--data", "-", stdin='{"n": 2}').exit_code == 0
    assert tasks.row(2)["payload"]["data"] == {"n": 2}
    mail = ("--email", "a@x.org", "--subject", "s", "--body", "-")
    assert at("noon", *mail, stdin="from\nstdin\n").exit_code == 0
    assert tasks.row(3)["payload"]["body"] == "from\nstdin\n"


def test_files_go_with_a_mail(tasks: Table, at: AtWorker, tmp_path: Path) -> None:
    (tmp_path / "report.csv").write_bytes(b"id\n42\n")
    (tmp_path / "data").write_bytes(b"\x00\xff")
    mail = ("--email", "a@x.org", "--subject", "s", "--body", "b")
    assert at("noon", *mail, "--attach", "report.csv", "--attach", "data").exit_code == 0
    assert tasks.row(1)["payload"]["attachments"] == [
        {"filename": "report.csv", "content_base64": "aWQKNDIK", "content_type": "text/csv"},
        {"filename": "data", "content_base64": "AP8=", "content_type": "application/octet-stream"},
    ]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (HTTP, "say when: a TIMESPEC, or -t"),
        (("noon", "-t", "209911271600", *HTTP), "say when with a TIMESPEC or with -t, not with both"),
        (("noon", "tomorow", *HTTP), "'tomorow' is not understood; is 'tomorrow' meant?"),
        (("1.1.2020", *HTTP), "has passed"),
        (("noon",), "say what to do with one of --http, --rabbitmq, --exchange, --email, --type"),
        (("noon", *HTTP, "--rabbitmq", "q"), "not two"),
        (("noon", *HTTP, "--subject", "s"), "--subject does not go with --http"),
        (
            ("noon", "--email", "a@x.org", "--header", "A: b", "--method", "PUT"),
            "--method does not go with --email",
        ),
        (("noon", *HTTP, "--data", "1", "--text", "1"), "give either --data or --text"),
        (("noon", *HTTP, "--data", "{order: 42}"), "--data: the value is not JSON"),
        (("noon", *HTTP, "--data", "NaN"), "--data: the value is not JSON"),
        (("noon", *HTTP, "--data", "@missing.json"), "--data: missing.json: No such file or directory"),
        (("noon", *HTTP, "--header", "X-Shop"), "--header: 'X-Shop' is not 'NAME: VALUE'"),
        (("noon", *HTTP, "--set", "priority"), "--set: 'priority' is not NAME=VALUE"),
        (("noon", *HTTP, "--retry-delays", "soon"), "--retry-delays: 'soon' is not a duration"),
        (("noon", *HTTP, "--expires", "now"), "--expires: "),
        (
            ("noon", "--type", "email", "--payload", "[]", "--set", "to=a@x.org"),
            "--set goes with a --payload that",
        ),
        (("noon", "--http", "ftp://x"), "invalid payload: url: must begin with http:// or https://"),
        (("noon", "--http", "http://169.254.169.254/"), "HTTP_GUARD=metadata"),
        (("noon", "--email", "a@x.org"), "invalid payload: subject: is missing"),
        (("noon", "--type", "rabbitmq", "--payload", "{}"), "invalid payload: exchange: is missing"),
    ],
)
def test_a_mistake_is_told_at_once_in_one_line(
    arguments: tuple[str, ...], problem: str, tasks: Table, at: AtWorker
) -> None:
    told = at(*arguments)
    assert (told.exit_code, told.stdout) == (2, "")
    assert told.stderr.startswith("Error: ")
    assert told.stderr.count("\n") == 1
    assert problem in told.stderr
    assert tasks.sql("TABLE scheduled_tasks") == []


def test_standard_input_that_is_no_text_is_told(at: AtWorker) -> None:
    told = at("noon", *HTTP, "--text", "-", stdin=b"\xff")
    assert (told.exit_code, told.stderr) == (2, "Error: --text: what was given is not UTF-8\n")


def test_what_would_be_refused_here_can_be_inserted_all_the_same(tasks: Table, at: AtWorker) -> None:
    assert at("noon", "--http", "http://169.254.169.254/", "--no-check").exit_code == 0
    assert tasks.row(1)["payload"] == {"url": "http://169.254.169.254/"}


def test_a_secret_that_only_the_workers_know_is_no_mistake(at: AtWorker) -> None:
    assert at("noon", *HTTP, "--bearer", "SHOP").exit_code == 0


def test_a_type_that_is_not_installed_here_is_not_checked(tasks: Table, at: AtWorker) -> None:
    told = at("noon", "--type", "teleport", "--payload", "[1]")
    assert told.exit_code == 0
    assert told.stderr.splitlines()[0] == (
        "The payload is not checked: teleport is not installed on this machine."
    )
    assert (tasks.row(1)["task_type"], tasks.row(1)["payload"]) == ("teleport", [1])


def test_a_type_that_no_living_worker_runs_is_refused(tasks: Table, at: AtWorker) -> None:
    tasks.sql(
        "INSERT INTO scheduled_tasks_presence (holder, worker_id, task_types, version)"
        " VALUES ('w-1/a', 'w-1', '{email,fax}', '1.0.0')"
    )
    told = at("noon", "--type", "teleport")
    assert told.exit_code == 2
    assert "no worker that is alive runs teleport; they run email, fax" in told.stderr
    assert at("noon", "--type", "fax").exit_code == 0
    assert at("noon", "--type", "teleport", "--no-check").exit_code == 0


def test_a_key_that_is_taken_is_told(at: AtWorker) -> None:
    at("noon", *HTTP, "--key", "k")
    told = at("noon", *HTTP, "--key", "k")
    assert told.exit_code == 1
    assert told.stderr == (
        'Error: task 1 has the dedupe_key "k" already; --on-duplicate says what else could become of it\n'
    )


def test_with_ignore_the_task_that_has_the_key_stays(tasks: Table, at: AtWorker) -> None:
    at("noon", *HTTP, "--key", "k")
    before = tasks.row(1)
    told = at("now", *HTTP, "--key", "k", "--on-duplicate", "ignore")
    assert (told.exit_code, told.stderr) == (0, "job 1 has the key k already and stays as it is\n")
    told = at("now", *HTTP, "--key", "k", "--on-duplicate", "ignore", "--json")
    assert json.loads(told.stdout) == {"id": 1, "is_new": False}
    assert tasks.row(1) == before


def test_with_replace_the_task_that_has_the_key_becomes_the_new_one(tasks: Table, at: AtWorker) -> None:
    at("noon", *HTTP, "--key", "k")
    told = at("2099-11-27T16:00Z", "--rabbitmq", "q", "--key", "k", "--on-duplicate", "replace")
    assert told.exit_code == 0
    assert (tasks.row(1)["task_type"], tasks.row(1)["execute_at"].year) == ("rabbitmq", 2099)
    tasks.sql("UPDATE scheduled_tasks SET status = 'processing'")
    told = at("noon", *HTTP, "--key", "k", "--on-duplicate", "replace")
    assert told.exit_code == 1
    assert "has been started, it cannot be replaced" in told.stderr


def test_what_the_database_refuses_is_one_line(table: Table, at: AtWorker) -> None:
    table.sql("ALTER TABLE scheduled_tasks ADD CONSTRAINT ours CHECK (priority < 9)")
    told = at("noon", *HTTP, "--priority", "9", DATABASE_URL=table.dsn)
    assert told.exit_code == 3
    assert told.stderr.startswith('Error: new row for relation "scheduled_tasks" violates')
    assert told.stderr.count("\n") == 1


def test_a_producer_may_schedule(login: Callable[[str], str], at: AtWorker) -> None:
    told = at("noon", *HTTP, "--key", "k", DATABASE_URL=login("at_producer"))
    assert told.stderr.startswith("job 1 at ")
    told = at("noon", *HTTP, "--key", "k", DATABASE_URL=login("at_producer"))
    assert told.stderr.startswith('Error: task 1 has the dedupe_key "k" already')


def test_who_may_not_schedule_is_told_what_is_missing(login: Callable[[str], str], at: AtWorker) -> None:
    told = at("noon", *HTTP, DATABASE_URL=login("at_monitor"))
    assert told.exit_code == 3
    assert told.stderr == (
        "Error: permission denied for table scheduled_tasks; that takes the rights of at_producer,"
        " which GRANT at_producer TO your role gives (at-worker init-db --roles makes it)\n"
    )


def test_a_real_shell_session(tasks: Table, tmp_path: Path) -> None:
    told = command(
        tmp_path,
        *("at", "4pm", "Nov", "27", "2099", "--http", URL, "--data", '{"order": 42}'),
        DATABASE_URL=tasks.dsn,
        TZ="America/New_York",
    )
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "job 1 at Fri Nov 27 16:00:00 2099\n")
    assert tasks.row(1)["execute_at"] == datetime(2099, 11, 27, 21, 0, tzinfo=UTC)
    with closing(psycopg.connect(tasks.dsn)) as connection:
        assert connection.execute("SELECT payload->'data' FROM scheduled_tasks").fetchone() == (
            {"order": 42},
        )
