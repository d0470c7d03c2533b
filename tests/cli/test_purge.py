import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cli.bulk import on_terminal
from tests.cli.conftest import AtWorker
from tests.tables import Table

DAY = 86_400.0
STATUSES = ("pending", "processing", "completed", "failed", "cancelled")


def fill(tasks: Table, days: float = 40, task_type: str = "email") -> None:
    """A task of every status, last changed so many days ago."""
    for status in STATUSES:
        completed_at = datetime.now(UTC) if status == "completed" else None
        task = tasks.insert(task_type, status=status, completed_at=completed_at)
        tasks.age(task, days * DAY)


def left(tasks: Table) -> list[str]:
    return [row["status"] for row in tasks.sql("SELECT status FROM scheduled_tasks ORDER BY id")]


def test_what_is_done_and_old_is_deleted(tasks: Table, at_worker: AtWorker) -> None:
    fill(tasks)
    fill(tasks, days=20)
    told = at_worker("purge", "--older-than", "30d", DATABASE_URL=tasks.dsn)
    assert (told.exit_code, told.output) == (0, "2 tasks deleted\n")
    assert left(tasks) == ["pending", "processing", "failed", *STATUSES]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--status", "failed"], ["pending", "processing", "completed", "cancelled"]),
        (["--status", "completed,cancelled,failed"], ["pending", "processing"]),
        (["--status", "failed", "--status", "completed"], ["pending", "processing", "cancelled"]),
        (["--type", "rabbitmq"], [*STATUSES]),
        (["--type", "rabbitmq", "--type", "email"], ["pending", "processing", "failed"]),
    ],
    ids=str,
)
def test_only_what_is_asked_for_is_deleted(
    options: list[str], expected: list[str], tasks: Table, at_worker: AtWorker
) -> None:
    fill(tasks)
    assert at_worker("purge", "--older-than", "30", *options, DATABASE_URL=tasks.dsn).exit_code == 0
    assert left(tasks) == expected


@pytest.mark.parametrize("status", ["pending", "processing", "completed,pending", "done"])
def test_what_has_not_ended_is_never_deleted(status: str, tasks: Table, at_worker: AtWorker) -> None:
    fill(tasks)
    told = at_worker("purge", "--older-than", "0s", "--status", status, DATABASE_URL=tasks.dsn)
    assert told.exit_code == 2
    assert "is none of completed, cancelled, failed" in told.stderr
    assert left(tasks) == [*STATUSES]


def test_a_dry_run_counts_and_deletes_nothing(tasks: Table, at_worker: AtWorker) -> None:
    fill(tasks)
    fill(tasks)
    arguments = ("purge", "--older-than", "30d", "--dry-run")
    told = at_worker(*arguments, DATABASE_URL=tasks.dsn)
    assert (told.exit_code, told.output) == (0, "that old: 4 tasks (cancelled 2, completed 2)\n")
    told = at_worker(*arguments, "--json", DATABASE_URL=tasks.dsn)
    assert json.loads(told.stdout) == {"old": 4, "by_status": {"cancelled": 2, "completed": 2}}
    assert len(left(tasks)) == 10


def test_thousands_are_deleted_with_their_attempts(tasks: Table, at_worker: AtWorker) -> None:
    tasks.sql("""
        INSERT INTO scheduled_tasks (id, task_type, status, updated_at)
        SELECT i, 'email', 'cancelled', now() - abs(i % 2) * interval '40 days'
          FROM generate_series(-2000, 2000) AS i
    """)
    tasks.sql("INSERT INTO scheduled_tasks_attempts (task_id, attempt, outcome) VALUES (7, 1, 'failed')")
    told = at_worker("purge", "--older-than", "30d", "--json", DATABASE_URL=tasks.dsn)
    assert json.loads(told.stdout) == {"deleted": 2000}
    assert len(left(tasks)) == 2001
    assert tasks.sql("SELECT FROM scheduled_tasks_attempts") == []


def test_a_row_that_somebody_holds_is_passed_over(table: Table, at_worker: AtWorker) -> None:
    fill(table)
    table.sql("BEGIN")
    table.sql("SELECT FROM scheduled_tasks WHERE status = 'completed' FOR UPDATE")
    told = at_worker("purge", "--older-than", "30d", DATABASE_URL=table.dsn)
    table.sql("COMMIT")
    assert (told.exit_code, told.output) == (0, "1 task deleted\n")
    assert "completed" in left(table)


@pytest.mark.parametrize(("typed", "code", "count"), [("y\n", 0, 3), ("n\n", 1, 5), ("\n", 1, 5)])
def test_a_terminal_is_asked_first(typed: str, code: int, count: int, tasks: Table, tmp_path: Path) -> None:
    fill(tasks)
    ended, shown = on_terminal(tmp_path, typed, "purge", "--older-than", "30d", DATABASE_URL=tasks.dsn)
    assert ended == code
    assert "that old: 2 tasks (cancelled 1, completed 1)\n" in shown
    assert "Delete them? [y/N]" in shown
    assert ("2 tasks deleted" in shown) == (code == 0)
    assert len(left(tasks)) == count


def test_a_terminal_is_not_asked_where_yes_is_said(tasks: Table, tmp_path: Path) -> None:
    fill(tasks)
    ended, shown = on_terminal(tmp_path, "", "purge", "--older-than", "30d", "--yes", DATABASE_URL=tasks.dsn)
    assert (ended, "Delete them?" in shown, "2 tasks deleted" in shown) == (0, False, True)


@pytest.mark.parametrize("age", ["soon", "-1d", ""])
def test_an_age_that_is_none_is_one_line(age: str, at_worker: AtWorker) -> None:
    told = at_worker("purge", "--older-than", age)
    assert told.exit_code == 2
    assert told.stderr == f"Error: --older-than: {age!r} is not a duration; write 30s, 5m, 2h or 7d\n"


def test_a_role_that_may_not_delete_is_told(
    table: Table, login: Callable[[str], str], at_worker: AtWorker
) -> None:
    fill(table)
    told = at_worker("purge", "--older-than", "30d", DATABASE_URL=login("at_monitor"))
    assert (told.exit_code, told.stderr.count("\n")) == (3, 1)
    assert "permission denied for table scheduled_tasks; that takes the rights of at_worker" in told.stderr
    assert at_worker("purge", "--older-than", "30d", DATABASE_URL=login("at_worker")).exit_code == 0
    assert left(table) == ["pending", "processing", "failed"]
