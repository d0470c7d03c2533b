"""Rows of an older table that would break a worker are mended by the upgrade, and say so where it matters."""

from contextlib import closing
from datetime import UTC, datetime

import pytest
from psycopg.rows import DictRow

from tests.store import ddl
from tests.store.plain import VARIANTS, upgraded_with

LAX = VARIANTS["no constraints and no defaults"]
CREATED = datetime(2020, 2, 2, tzinfo=UTC)
FIRST = datetime(2, 1, 1, tzinfo=UTC)
LAST = datetime(9999, 1, 1, tzinfo=UTC)


def upgraded(dsn: str, **expressions: str) -> DictRow:
    """A row of these SQL expressions after the upgrade."""
    values = {"task_type": "'a'", "status": "'pending'", "created_at": "'2020-02-02'"}
    with closing(upgraded_with(dsn, LAX, ddl.insert(**{**values, **expressions}))) as table:
        return table.row(1)


@pytest.mark.parametrize(
    ("column", "before", "after"),
    [
        ("payload", "NULL", {}),
        ("execute_at", "NULL", CREATED),
        ("execute_at", "'infinity'", LAST),
        ("execute_at", "'-infinity'", FIRST),
        ("execute_at", "'0044-03-15 BC'", FIRST),
        ("execute_at", "'12000-01-01'", LAST),
        ("attempts", "NULL", 0),
        ("attempts", "-3", 0),
        ("attempts", "99", 99),
        ("max_attempts", "NULL", 5),
        ("max_attempts", "0", 1),
        ("max_attempts", "-1", 1),
        ("created_at", "'infinity'", LAST),
        ("updated_at", "NULL", CREATED),
        ("updated_at", "'-infinity'", FIRST),
        ("error_message", "repeat('x', 9000)", "x" * 9000),
    ],
)
def test_a_value_that_would_break_a_worker_is_mended(
    empty_dsn: str, column: str, before: str, after: object
) -> None:
    row = upgraded(empty_dsn, **{column: before})
    assert (row[column], row["status"], row["completed_at"]) == (after, "pending", None)


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        ("'done'", "NULL", "upgraded from status 'done'"),
        ("'PENDING'", "'old'", "upgraded from status 'PENDING'; old"),
        ("''", "NULL", "upgraded from status ''"),
        ("NULL", "NULL", "upgraded from status NULL"),
    ],
)
def test_a_row_of_unknown_status_fails_and_says_so(
    empty_dsn: str, status: str, error: str, expected: str
) -> None:
    row = upgraded(empty_dsn, status=status, error_message=error)
    assert (row["status"], row["error_message"]) == ("failed", expected)


@pytest.mark.parametrize(
    ("task_type", "status", "after", "expected"),
    [
        ("''", "pending", "failed", "upgraded from task_type ''"),
        ("NULL", "processing", "failed", "upgraded from task_type NULL"),
        ("NULL", "completed", "completed", "upgraded from task_type NULL"),
        ("repeat('x', 1001)", "pending", "failed", f"upgraded from task_type '{'x' * 200}'"),
    ],
)
def test_a_row_without_a_usable_task_type_does_not_run(
    empty_dsn: str, task_type: str, status: str, after: str, expected: str
) -> None:
    row = upgraded(empty_dsn, task_type=task_type, status=f"'{status}'")
    assert (row["task_type"], row["status"], row["error_message"]) == ("unknown", after, expected)


def test_a_note_of_the_upgrade_stands_before_a_long_error(empty_dsn: str) -> None:
    error = upgraded(empty_dsn, status="'done'", error_message="repeat('x', 9000)")["error_message"]
    assert error.startswith("upgraded from status 'done'; xxx")
    assert len(error) == 4096


def test_a_completed_row_without_completed_at_gets_the_time_of_its_last_change(empty_dsn: str) -> None:
    row = upgraded(empty_dsn, status="'completed'", updated_at="'2020-03-03'")
    assert row["completed_at"] == datetime(2020, 3, 3, tzinfo=UTC)


def test_completed_at_is_cleared_where_a_row_is_not_completed(empty_dsn: str) -> None:
    row = upgraded(empty_dsn, status="'failed'", completed_at="'2020-03-03'")
    assert row["completed_at"] is None
