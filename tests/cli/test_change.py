import json
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from tests.cli.conftest import AtWorker
from tests.tables import Table

LATER = "2099-11-27 16:00+00"


@pytest.mark.parametrize("status", ["pending", "processing"])
def test_a_task_is_taken_back(status: str, tasks: Table, at_worker: AtWorker) -> None:
    task = tasks.insert("email", status=status)
    told = at_worker("cancel", str(task), DATABASE_URL=tasks.dsn)
    assert (told.exit_code, told.stdout, told.stderr) == (0, "", f"job {task} cancelled\n")
    assert tasks.row(task)["status"] == "cancelled"


def test_atrm_takes_back_without_a_word(tasks: Table, at_worker: AtWorker) -> None:
    gone, stays = tasks.insert("email"), tasks.insert("email")
    told = at_worker("atrm", str(gone), DATABASE_URL=tasks.dsn)
    assert (told.exit_code, told.output) == (0, "")
    assert [tasks.row(task)["status"] for task in (gone, stays)] == ["cancelled", "pending"]


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_task_runs_again_with_all_its_attempts(status: str, tasks: Table, at_worker: AtWorker) -> None:
    task = tasks.insert("email", status=status, attempts=5, execute_at=LATER)
    told = at_worker("retry", str(task), DATABASE_URL=tasks.dsn)
    assert (told.exit_code, told.stderr) == (0, f"job {task} is due now\n")
    row = tasks.row(task)
    assert (row["status"], row["attempts"], row["execute_at"] == row["updated_at"]) == ("pending", 0, True)


@pytest.mark.parametrize(
    ("name", "status", "problem"),
    [
        ("cancel", "completed", "is completed, not pending or processing"),
        ("atrm", "failed", "is failed, not pending or processing"),
        ("retry", "pending", "is pending, not failed or cancelled"),
        ("retry", "completed", "is completed, not failed or cancelled"),
    ],
)
def test_what_is_too_late_or_too_early_is_told_and_the_others_are_changed(
    name: str, status: str, problem: str, tasks: Table, at_worker: AtWorker
) -> None:
    other = {"cancel": "pending", "atrm": "pending", "retry": "failed"}[name]
    completed_at = datetime.now(UTC) if status == "completed" else None
    wrong = tasks.insert("email", status=status, completed_at=completed_at)
    right = tasks.insert("email", status=other)
    before = tasks.row(wrong)
    told = at_worker(name, "99", str(wrong), str(right), DATABASE_URL=tasks.dsn)
    assert told.exit_code == 1
    assert told.stderr.splitlines()[:2] == ["Error: task 99 is not there", f"Error: task {wrong} {problem}"]
    assert tasks.row(wrong) == before
    assert tasks.row(right)["status"] == ("pending" if name == "retry" else "cancelled")


def test_scripts_are_told_what_became_of_each(tasks: Table, at_worker: AtWorker) -> None:
    task = tasks.insert("email")
    told = at_worker("cancel", str(task), "99", "--json", DATABASE_URL=tasks.dsn)
    assert told.exit_code == 1
    assert [json.loads(line) for line in told.stdout.splitlines()] == [
        {"id": task, "was": "pending", "done": True},
        {"id": 99, "was": None, "done": False},
    ]


def test_a_key_that_was_used_again_keeps_a_task_from_running_again(tasks: Table, at_worker: AtWorker) -> None:
    task = tasks.insert("email", status="failed", dedupe_key="k")
    tasks.insert("email", dedupe_key="k")
    told = at_worker("retry", str(task), DATABASE_URL=tasks.dsn)
    assert (told.exit_code, told.stderr) == (
        1,
        f"Error: task {task} cannot be changed: its dedupe_key has been used again meanwhile\n",
    )


def test_a_pending_task_is_moved(tasks: Table, at_worker: AtWorker, in_zone: Callable[[str], None]) -> None:
    in_zone("Europe/Berlin")
    task = tasks.insert("email")
    told = at_worker("reschedule", str(task), "4pm", "Nov", "27", "2099", DATABASE_URL=tasks.dsn)
    assert (told.exit_code, told.stdout, told.stderr) == (0, "", f"job {task} at Fri Nov 27 16:00:00 2099\n")
    assert tasks.row(task)["execute_at"] == datetime(2099, 11, 27, 15, 0, tzinfo=UTC)
    told = at_worker("reschedule", str(task), "-t", "209911271600", "--json", DATABASE_URL=tasks.dsn)
    assert json.loads(told.stdout) == {"id": task, "execute_at": "2099-11-27T15:00:00Z"}


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (("1", "noon"), 1, "task 1 is processing, not pending"),
        (("99", "noon"), 1, "task 99 is not there"),
        (("1",), 2, "say when: a TIMESPEC, or -t"),
        (("1", "tomorow"), 2, "is 'tomorrow' meant?"),
    ],
)
def test_what_cannot_be_moved_is_told_in_one_line(
    arguments: tuple[str, ...], code: int, problem: str, tasks: Table, at_worker: AtWorker
) -> None:
    tasks.insert("email", status="processing")
    told = at_worker("reschedule", *arguments, DATABASE_URL=tasks.dsn)
    assert (told.exit_code, told.stdout) == (code, "")
    assert told.stderr.startswith("Error: ")
    assert told.stderr.endswith(f"{problem}\n")
    assert told.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["cancel", "retry", "atrm"])
def test_an_id_that_is_no_number_is_a_wrong_argument(name: str, at_worker: AtWorker) -> None:
    assert at_worker(name, "seven").exit_code == 2


def test_a_row_that_somebody_holds_is_told_and_not_waited_for_forever(
    tasks: Table, at_worker: AtWorker
) -> None:
    task = tasks.insert("email")
    with closing(psycopg.connect(tasks.dsn)) as somebody:
        somebody.execute("SELECT FROM scheduled_tasks FOR UPDATE")
        told = at_worker("cancel", str(task), DATABASE_URL=tasks.dsn, WORKER_STUCK_TIMEOUT="5s")
    assert (told.exit_code, told.stderr) == (3, "Error: canceling statement due to lock timeout\n")


@pytest.mark.parametrize("arguments", [("cancel", "1"), ("retry", "1"), ("reschedule", "1", "noon")])
def test_who_may_not_change_tasks_is_told_what_is_missing(
    arguments: tuple[str, ...], table: Table, login: Callable[[str], str], at_worker: AtWorker
) -> None:
    table.insert("email", status="failed" if "retry" in arguments else "pending")
    told = at_worker(*arguments, DATABASE_URL=login("at_monitor"))
    assert told.exit_code == 3
    assert "permission denied" in told.stderr
    assert "that takes the rights of at_worker, which GRANT at_worker TO your role gives" in told.stderr
    assert told.stderr.count("\n") == 1
    assert at_worker(*arguments, DATABASE_URL=login("at_worker")).exit_code == 0


def test_a_database_that_is_away_is_one_line(at_worker: AtWorker) -> None:
    told = at_worker("cancel", "1", DATABASE_URL="postgresql://at:hunter2@127.0.0.1:1/app")
    assert told.exit_code == 3
    assert told.stderr.startswith("Error: 127.0.0.1:1/app: ")
    assert "hunter2" not in told.stderr
    assert told.stderr.count("\n") == 1


def test_the_table_may_be_in_a_schema_of_any_name(empty_dsn: str, at_worker: AtWorker) -> None:
    name = sql.Identifier('100% "odd"').as_string()
    with closing(psycopg.connect(empty_dsn, autocommit=True)) as connection:
        connection.execute(f"CREATE SCHEMA {name}".encode())
        connection.execute(f"ALTER DATABASE {urlsplit(empty_dsn).path[1:]} SET search_path = {name}".encode())
    for arguments, told in (
        (("init-db",), "scheduled_tasks is ready"),
        (("at", "noon", "--rabbitmq", "q", "--key", "k"), "job 1 at "),
        (("at", "noon", "--rabbitmq", "q", "--key", "k"), 'task 1 has the dedupe_key "k" already'),
        (("list",), "rabbitmq  q"),
        (("why", "1"), "no worker is alive"),
        (("show", "1"), '"queue": "q"'),
        (("reschedule", "1", "now"), "job 1 at "),
        (("cancel", "1"), "job 1 cancelled"),
        (("retry", "1"), "job 1 is due now"),
    ):
        assert told in at_worker(*arguments, DATABASE_URL=empty_dsn).output
