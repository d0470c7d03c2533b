import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tests.cli.bulk import LATER
from tests.cli.conftest import AtWorker
from tests.tables import Table


def paused(tasks: Table) -> list[str]:
    return [row["task_type"] for row in tasks.sql("SELECT task_type FROM scheduled_tasks_paused ORDER BY 1")]


def test_a_type_is_paused_and_resumed(tasks: Table, at_worker: AtWorker) -> None:
    tasks.insert("email")
    told = at_worker("pause", "email", "--reason", "it moves", DATABASE_URL=tasks.dsn)
    assert (told.exit_code, told.output) == (0, "email is paused\n")
    (row,) = tasks.sql("SELECT task_type, reason FROM scheduled_tasks_paused")
    assert row == {"task_type": "email", "reason": "it moves"}
    told = at_worker("resume", "email", DATABASE_URL=tasks.dsn)
    assert (told.exit_code, told.output) == (0, "email is resumed\n")
    assert paused(tasks) == []


def test_what_is_paused_already_or_not_at_all_is_said(tasks: Table, at_worker: AtWorker) -> None:
    tasks.insert("email")
    for said in ("email is paused\n", "email was paused already and stays so\n"):
        told = at_worker("pause", "email", DATABASE_URL=tasks.dsn)
        assert (told.exit_code, told.output) == (0, said)
    told = at_worker("resume", "rabbitmq", DATABASE_URL=tasks.dsn)
    assert (told.exit_code, told.output) == (0, "rabbitmq was not paused\n")


@pytest.mark.parametrize("known", ["a task", "a worker", "nobody"])
def test_a_type_that_nobody_knows_may_be_a_typing_mistake(
    known: str, tasks: Table, at_worker: AtWorker
) -> None:
    if known == "a task":
        tasks.insert("teleport", execute_at=LATER)
    if known == "a worker":
        tasks.sql("""
            INSERT INTO scheduled_tasks_presence (holder, worker_id, task_types, version)
            VALUES ('w-1/x', 'w-1', '{email,teleport}', '1.0.0')
        """)
    told = at_worker("pause", "teleport", DATABASE_URL=tasks.dsn)
    assert (told.exit_code, told.stdout) == (0, "teleport is paused\n")
    assert ("is it spelled right?" in told.stderr) == (known == "nobody")
    assert paused(tasks) == ["teleport"]


def test_without_a_type_it_lists_what_is_paused(tasks: Table, at_worker: AtWorker) -> None:
    for priority in (0, 5, 5, 9):
        tasks.insert("email", priority=priority)
    tasks.insert("email", execute_at=LATER)
    tasks.insert("email", status="failed")
    tasks.sql("""
        INSERT INTO scheduled_tasks_paused VALUES
            ('email', '2026-11-27 16:00+00', 'ann', 'it moves'),
            ('rabbitmq', '2026-11-28 16:00+00', 'bob', NULL)
    """)
    told = at_worker("pause", DATABASE_URL=tasks.dsn)
    head, *rows = [line.split() for line in told.stdout.splitlines()]
    assert head == ["TYPE", "SINCE", "BY", "DUE", "REASON"]
    assert [[row[0], *row[3:]] for row in rows] == [
        ["email", "ann", "4", "it", "moves"],
        ["rabbitmq", "bob", "0"],
    ]
    told = at_worker("pause", "--json", DATABASE_URL=tasks.dsn)
    assert json.loads(told.stdout.splitlines()[0]) == {
        "task_type": "email",
        "paused_at": "2026-11-27T16:00:00Z",
        "paused_by": "ann",
        "reason": "it moves",
        "due": 4,
    }


def test_what_waits_is_counted_no_further_than_it_says_enough(tasks: Table, at_worker: AtWorker) -> None:
    tasks.sql("INSERT INTO scheduled_tasks (task_type) SELECT 'email' FROM generate_series(1, 10001)")
    tasks.sql("INSERT INTO scheduled_tasks_paused (task_type) VALUES ('email')")
    assert " 10,000+" in at_worker("pause", DATABASE_URL=tasks.dsn).stdout


def test_that_nothing_is_paused_is_said_on_stderr(tasks: Table, at_worker: AtWorker) -> None:
    told = at_worker("pause", DATABASE_URL=tasks.dsn)
    assert (told.exit_code, told.stdout, told.stderr) == (0, "", "Nothing is paused.\n")


def test_scripts_learn_whether_anything_changed(tasks: Table, at_worker: AtWorker) -> None:
    tasks.insert("email")
    for command, changed in (("pause", True), ("pause", False), ("resume", True), ("resume", False)):
        told = at_worker(command, "email", "--json", DATABASE_URL=tasks.dsn)
        assert json.loads(told.stdout) == {"task_type": "email", "changed": changed}


@pytest.mark.parametrize("arguments", [("pause", ""), ("pause", "--reason", "x")])
def test_a_pause_of_nothing_is_one_line(arguments: tuple[str, ...], at_worker: AtWorker) -> None:
    told = at_worker(*arguments)
    assert (told.exit_code, told.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_who_may_only_look_may_list_and_change_nothing(
    command: str, table: Table, login: Callable[[str], str], at_worker: AtWorker
) -> None:
    table.sql(
        "INSERT INTO scheduled_tasks_paused (task_type, paused_at) VALUES ('sms', %(at)s)",
        at=datetime.now(UTC),
    )
    told = at_worker(command, "email", DATABASE_URL=login("at_monitor"))
    assert (told.exit_code, told.stderr.count("\n")) == (3, 1)
    assert "that takes the rights of at_worker" in told.stderr
    assert paused(table) == ["sms"]
    assert at_worker("pause", DATABASE_URL=login("at_monitor")).stdout.splitlines()[1].startswith("sms ")
    assert at_worker(command, "email", DATABASE_URL=login("at_worker")).exit_code == 0
