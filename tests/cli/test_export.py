import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import pytest

from tests.cli.bulk import LATER
from tests.cli.conftest import AtWorker
from tests.tables import Table

# What no two JSON libraries agree on.
ODD = (
    "{}",
    '{"n": [123456789012345678901234567890, 0.10000000000000000555111512312578, -1e-30, 19.90, 1E+40, -0.0]}',
    '{"text": "grün ☃ 😀 \\u2028 \\" \\\\ \\n\\t \\u0001 \\u007f \\u202e e\\u0301"}',
    "[" * 500 + '{"": null}' + "]" * 500,
    '"a string"',
    "null",
    '{"a": {"b": [true, false, null, "", {}, []]}, "payload": "task_type"}',
)
FILL = """
INSERT INTO scheduled_tasks (task_type, payload, execute_at, priority, expires_at, max_attempts, retry_delays,
                             dedupe_key, context)
VALUES ('a "strange" type ☃', %(odd)s::jsonb, '2099-05-17 09:30:00.123456+05:45', 9, '0002-01-01 00:00+00',
        2147483647, '{1 mon 2 days 03:04:05.678, 10 s}', %(key)s, '{"by": 19.90}'),
       ('email', %(odd)s::jsonb, '9999-01-01 00:00+00', 0, NULL, 1, NULL, NULL, '{}')
"""
LOOK = """
SELECT task_type, payload::text, execute_at, priority, expires_at, max_attempts, retry_delays::text,
       dedupe_key, context::text
  FROM scheduled_tasks ORDER BY id
"""


@pytest.mark.parametrize("style", ["postgres", "iso_8601"])
def test_what_is_exported_and_imported_again_is_the_same_to_the_digit(
    style: str, tasks: Table, at_worker: AtWorker
) -> None:
    for odd in ODD:
        tasks.sql(FILL, odd=odd, key=f"ключ {odd[:90]}")
    before = tasks.sql(LOOK)
    # Whatever the sessions of a role are like.
    dsn = f"{tasks.dsn}?options=-c%20TimeZone%3DAsia/Kathmandu%20-c%20IntervalStyle%3D{style}"
    assert at_worker("export", "--output", "tasks.jsonl", DATABASE_URL=dsn).exit_code == 0
    tasks.sql("DELETE FROM scheduled_tasks")
    told = at_worker("import", "--no-check", "tasks.jsonl", DATABASE_URL=dsn)
    assert (told.exit_code, told.output) == (0, "14 tasks imported\n")
    assert tasks.sql(LOOK) == before


def test_a_line_holds_what_a_producer_sets_and_nothing_else(tasks: Table, at_worker: AtWorker) -> None:
    tasks.insert("email", {"to": "ann"}, execute_at=LATER, attempts=2, error_message="HTTP 503")
    told = at_worker("export", DATABASE_URL=tasks.dsn)
    assert (told.exit_code, told.stderr) == (0, "")
    assert json.loads(told.stdout) == {
        "task_type": "email",
        "payload": {"to": "ann"},
        "execute_at": LATER,
        "priority": 5,
        "expires_at": None,
        "max_attempts": 5,
        "retry_delays": None,
        "dedupe_key": None,
        "context": {},
    }


def test_all_columns_are_all_that_the_table_has(table: Table, at_worker: AtWorker) -> None:
    table.sql("ALTER TABLE scheduled_tasks ADD COLUMN of_our_own text DEFAULT 'x'")
    table.insert("email", attempts=2, error_message="HTTP 503")
    told = json.loads(at_worker("export", "--all-columns", DATABASE_URL=table.dsn).stdout)
    assert list(told) == list(table.row(1))
    assert (told["id"], told["attempts"], told["error_message"], told["of_our_own"]) == (
        1,
        2,
        "HTTP 503",
        "x",
    )


def test_a_line_with_all_columns_is_not_imported_by_mistake(tasks: Table, at_worker: AtWorker) -> None:
    tasks.insert("email")
    at_worker("export", "--all-columns", "-o", "tasks.jsonl", DATABASE_URL=tasks.dsn)
    told = at_worker("import", "tasks.jsonl", DATABASE_URL=tasks.dsn)
    assert (told.exit_code, told.stderr.split(",")[0]) == (1, "line 1: id: is not one of task_type")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ["soon", "later"]),
        (["--status", "completed"], ["done"]),
        (["--status", "failed", "--status", "completed"], ["done", "broken"]),
        (["--all"], ["soon", "later", "done", "broken"]),
        (["--type", "teleport"], ["later"]),
        (["--type", "teleport", "--type", "email"], ["soon", "later"]),
        (["--after", "2098-01-01 00:00"], ["later"]),
        (["--before", "2098-01-01 00:00", "--all"], ["soon", "done", "broken"]),
        (["--type", "nothing"], []),
    ],
    ids=str,
)
def test_only_what_is_asked_for_is_exported(
    options: list[str], expected: list[str], tasks: Table, at_worker: AtWorker
) -> None:
    tasks.insert("email", dedupe_key="soon")
    tasks.insert("teleport", dedupe_key="later", execute_at=LATER)
    tasks.insert("email", dedupe_key="done", status="completed", completed_at=datetime.now(UTC))
    tasks.insert("email", dedupe_key="broken", status="failed")
    told = at_worker("export", *options, DATABASE_URL=tasks.dsn)
    assert told.exit_code == 0
    assert [json.loads(line)["dedupe_key"] for line in told.stdout.splitlines()] == expected


def test_thousands_are_exported_in_the_order_of_their_ids(tasks: Table, at_worker: AtWorker) -> None:
    tasks.sql("""
        INSERT INTO scheduled_tasks (task_type, payload, execute_at)
        SELECT 'email', to_jsonb(i), now() - i * interval '1 s' FROM generate_series(1, 3000) AS i
    """)
    told = at_worker("export", DATABASE_URL=tasks.dsn).stdout
    assert [json.loads(line)["payload"] for line in told.splitlines()] == list(range(1, 3001))


@pytest.mark.parametrize(("name", "opened"), [("tasks.jsonl", open), ("tasks.jsonl.gz", gzip.open)])
def test_a_file_is_for_its_owner_alone(
    name: str, opened: Callable[[str], IO[bytes]], tasks: Table, at_worker: AtWorker
) -> None:
    tasks.insert("email")
    told = at_worker("export", "-o", name, DATABASE_URL=tasks.dsn)
    assert (told.exit_code, told.stdout, told.stderr) == (0, "", f"1 task written to {name}\n")
    with opened(name) as file:
        assert len(list(file)) == 1
    assert Path(name).stat().st_mode & 0o077 == 0


def test_a_file_that_cannot_be_written_is_one_line(tasks: Table, at_worker: AtWorker) -> None:
    told = at_worker("export", "-o", "nowhere/tasks.jsonl", DATABASE_URL=tasks.dsn)
    assert told.exit_code == 2
    assert told.stderr == "Error: nowhere/tasks.jsonl cannot be written: No such file or directory\n"


def test_no_control_character_of_a_row_reaches_the_terminal(tasks: Table, at_worker: AtWorker) -> None:
    hostile = "a\x1b[2J\x9b31m\r\n\u202eb"
    tasks.insert(hostile, {"x": hostile})
    told = at_worker("export", DATABASE_URL=tasks.dsn).stdout
    assert all(character.isprintable() or character == "\n" for character in told)
    assert json.loads(told)["payload"] == {"x": hostile}


def test_a_role_that_may_not_read_payloads_is_told(login: Callable[[str], str], at_worker: AtWorker) -> None:
    told = at_worker("export", DATABASE_URL=login("at_monitor"))
    assert (told.exit_code, told.stdout, told.stderr.count("\n")) == (3, "", 1)
    assert "permission denied for table scheduled_tasks; that takes the rights of at_worker" in told.stderr
    assert at_worker("export", DATABASE_URL=login("at_worker")).exit_code == 0
