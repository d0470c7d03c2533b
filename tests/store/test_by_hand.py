"""What people change with plain UPDATEs stays consistent; and the worker's own statements stay their own."""

from contextlib import closing
from datetime import datetime

import pytest

from at_worker.outcome import Settlement, Status
from at_worker.store.database import Database
from at_worker.store.queue import Queue
from at_worker.store.recovery import Recovery
from tests.tables import Table

LONG_AGO = "2020-01-01 00:00+00"
STATUSES = [status.value for status in Status]
FINISHED = ["completed", "failed", "cancelled"]


def insert(table: Table, status: str, expires_at: str | None = None) -> int:
    """Insert a row that reached its status long ago."""
    completed_at = LONG_AGO if status == "completed" else None
    return table.insert(
        status=status, updated_at=LONG_AGO, completed_at=completed_at, expires_at=expires_at, attempts=2
    )


@pytest.mark.parametrize("after", STATUSES)
@pytest.mark.parametrize("before", STATUSES)
def test_a_change_of_status_touches_updated_at(shared: Table, before: str, after: str) -> None:
    task = insert(shared, before)
    shared.sql("UPDATE scheduled_tasks SET status = %(status)s WHERE id = %(id)s", status=after, id=task)
    assert shared.row(task)["updated_at"] > datetime.fromisoformat(LONG_AGO)


@pytest.mark.parametrize("after", STATUSES)
@pytest.mark.parametrize("before", STATUSES)
def test_completed_at_is_set_when_and_only_when_completed(shared: Table, before: str, after: str) -> None:
    task = insert(shared, before)
    shared.sql("UPDATE scheduled_tasks SET status = %(status)s WHERE id = %(id)s", status=after, id=task)
    assert (shared.row(task)["completed_at"] is not None) == (after == "completed")


def test_completed_at_of_a_row_that_stays_completed_is_kept(shared: Table) -> None:
    task = insert(shared, "completed")
    shared.sql("UPDATE scheduled_tasks SET context = '{\"seen\": true}' WHERE id = %(id)s", id=task)
    assert shared.row(task)["completed_at"] == datetime.fromisoformat(LONG_AGO)


def test_a_person_may_say_when_it_was_completed(shared: Table) -> None:
    task = insert(shared, "failed")
    shared.sql(
        "UPDATE scheduled_tasks SET status = 'completed', completed_at = %(then)s WHERE id = %(id)s",
        then=LONG_AGO,
        id=task,
    )
    assert shared.row(task)["completed_at"] == datetime.fromisoformat(LONG_AGO)


@pytest.mark.parametrize("before", FINISHED)
def test_a_past_expires_at_is_cleared_when_a_finished_row_runs_again(shared: Table, before: str) -> None:
    task = insert(shared, before, expires_at=LONG_AGO)
    shared.sql("UPDATE scheduled_tasks SET status = 'pending' WHERE id = %(id)s", id=task)
    assert shared.row(task)["expires_at"] is None


@pytest.mark.parametrize("before", FINISHED)
def test_a_future_expires_at_still_counts_when_a_finished_row_runs_again(shared: Table, before: str) -> None:
    task = insert(shared, before, expires_at="2999-01-01")
    shared.sql("UPDATE scheduled_tasks SET status = 'pending' WHERE id = %(id)s", id=task)
    assert shared.row(task)["expires_at"] is not None


@pytest.mark.parametrize("before", ["pending", "processing"])
def test_a_past_expires_at_of_a_row_that_is_not_finished_stays(shared: Table, before: str) -> None:
    task = insert(shared, before, expires_at=LONG_AGO)
    shared.sql("UPDATE scheduled_tasks SET status = 'pending' WHERE id = %(id)s", id=task)
    assert shared.row(task)["expires_at"] is not None


@pytest.mark.parametrize("after", ["processing", *FINISHED])
def test_a_past_expires_at_stays_where_a_row_does_not_become_pending(shared: Table, after: str) -> None:
    task = insert(shared, "failed", expires_at=LONG_AGO)
    shared.sql("UPDATE scheduled_tasks SET status = %(status)s WHERE id = %(id)s", status=after, id=task)
    assert shared.row(task)["expires_at"] is not None


@pytest.mark.parametrize("status", STATUSES)
def test_a_reschedule_changes_nothing_but_execute_at_and_updated_at(shared: Table, status: str) -> None:
    task = insert(shared, status, expires_at=LONG_AGO)
    before = shared.row(task)
    shared.sql("UPDATE scheduled_tasks SET execute_at = '2999-01-01' WHERE id = %(id)s", id=task)
    after = shared.row(task)
    assert {name for name in after if after[name] != before[name]} == {"execute_at", "updated_at"}


@pytest.mark.parametrize("after", STATUSES)
@pytest.mark.parametrize("before", STATUSES)
def test_who_sets_updated_at_is_left_alone(shared: Table, before: str, after: str) -> None:
    task = insert(shared, before, expires_at=LONG_AGO)
    row = shared.row(task)
    shared.sql(
        "UPDATE scheduled_tasks SET status = %(status)s, updated_at = '2021-01-01 00:00+00'"
        " WHERE id = %(id)s",
        status=after,
        id=task,
    )
    assert shared.row(task) == {
        **row,
        "status": after,
        "updated_at": datetime.fromisoformat("2021-01-01 00:00+00"),
    }


def test_an_insert_is_left_alone(shared: Table) -> None:
    task = shared.insert(status="failed", completed_at=LONG_AGO, expires_at=LONG_AGO, updated_at=LONG_AGO)
    row = shared.row(task)
    assert row["completed_at"] == row["expires_at"] == row["updated_at"]


def test_the_statements_of_a_worker_never_fire_it(table: Table) -> None:
    table.sql(
        "CREATE OR REPLACE FUNCTION scheduled_tasks_by_hand() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'fired'; END $$"
    )
    tasks = [table.insert() for _ in range(3)]
    late = table.insert(execute_at="2999-01-01", expires_at=LONG_AGO)
    with closing(Database(table.settings())) as database:
        database.open()
        queue = Queue(database, "w/boot", None)
        claimed = queue.claim(10, 0).tasks
        queue.beat(task.claim for task in claimed)
        queue.settle(
            [Settlement(claimed[0], Status.COMPLETED), Settlement(claimed[1], Status.PENDING, delay=60)]
        )
        queue.hand_back_unheld([])
        Recovery(database, 5, None).expire(10)
    assert [table.row(task)["status"] for task in [*tasks, late]] == [
        "completed",
        "pending",
        "pending",
        "failed",
    ]
