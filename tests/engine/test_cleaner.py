import logging
import time
from datetime import timedelta

import pytest

from at_worker.engine.cleaner import CATCH_UP
from tests.engine.bench import Gate, bench
from tests.tables import Table


def test_every_turn_says_one_line(table: Table, caplog: pytest.LogCaptureFixture) -> None:
    with bench(table) as worker, caplog.at_level(logging.INFO):
        worker.cleaner.look(0.0)
    assert caplog.messages == ["[Cleaner] Restored 0, failed 0, expired 0, deleted 0 tasks"]


def test_what_is_restored_and_failed_is_named(table: Table, caplog: pytest.LogCaptureFixture) -> None:
    again = table.insert(status="processing", updated_at="2020-01-01T00:00:00Z")
    last = table.insert(status="processing", updated_at="2020-01-01T00:00:00Z", max_attempts=1)
    with bench(table) as worker, caplog.at_level(logging.INFO):
        worker.clean()
    assert caplog.messages[1].startswith(
        f"[Cleaner] Restored stuck task {again} (lost: an unknown worker gave no"
    )
    assert caplog.messages[2].startswith(f"[Cleaner] Marked task {last} as failed (lost: ")
    assert caplog.messages[3] == "[Cleaner] Restored 1, failed 1, expired 0, deleted 0 tasks"


def test_a_hand_made_processing_row_is_given_back(table: Table) -> None:
    task = table.insert(status="processing", updated_at="2020-01-01T00:00:00Z")
    with bench(table) as worker:
        worker.clean()
        worker.work()
    row = table.row(task)
    assert (row["status"], row["attempts"]) == ("completed", 2)


def test_more_rows_than_one_batch_are_restored_in_one_turn(table: Table) -> None:
    table.sql(
        "INSERT INTO scheduled_tasks (task_type, status, updated_at)"
        " SELECT 'probe', 'processing', '2020-01-01Z' FROM generate_series(1, 1234)"
    )
    with bench(table) as worker:
        worker.clean()
    assert table.sql("SELECT status, count(*) FROM scheduled_tasks GROUP BY status") == [
        {"status": "pending", "count": 1234}
    ]


def test_a_stuck_row_that_a_person_has_locked_is_left_alone(table: Table) -> None:
    task = table.insert(status="processing", updated_at="2020-01-01T00:00:00Z")
    person = Table(table.dsn)
    person.sql("BEGIN")
    person.sql("SELECT FROM scheduled_tasks FOR UPDATE")
    with bench(table) as worker:
        worker.clean()
        assert table.row(task)["status"] == "processing"
        person.sql("ROLLBACK")
        person.close()
        worker.clean()
    assert table.row(task)["status"] == "pending"


def test_types_of_other_workers_are_left_alone(table: Table) -> None:
    stuck = table.insert("probe", status="processing", updated_at="2020-01-01T00:00:00Z")
    expired = table.insert("probe", expires_at="2020-01-01T00:00:00Z")
    old = table.insert("probe", status="completed", updated_at="2020-01-01T00:00:00Z")
    with bench(table, WORKER_TASK_TYPES="other", WORKER_RETENTION="7d") as worker:
        worker.clean()
    assert [table.row(task)["status"] for task in (stuck, expired, old)] == [
        "processing",
        "pending",
        "completed",
    ]


def test_the_next_turn_comes_when_the_oldest_heartbeat_runs_out(table: Table) -> None:
    table.sql(
        "INSERT INTO scheduled_tasks (task_type, status, updated_at)"
        " VALUES ('probe', 'processing', now() - interval '240 s'), ('probe', 'processing', now())"
    )
    with bench(table) as worker:
        assert 50 < worker.cleaner.turn() < 61


def test_without_claimed_tasks_the_next_turn_comes_by_interval_or_stuck_timeout(table: Table) -> None:
    with bench(table, WORKER_CLEANER_INTERVAL="60s") as worker:
        assert worker.cleaner.turn() == 60
    with bench(table, WORKER_STUCK_TIMEOUT="7s") as worker:
        assert worker.cleaner.turn() == 7


def test_a_killer_task_parts_from_its_neighbours(table: Table) -> None:
    tasks = [table.insert() for _ in range(4)]
    # A worker that dies of one of them takes them all along, twice.
    with bench(table) as worker:
        for _ in range(2):
            worker.queue.claim(4, 0)
            table.sql("UPDATE scheduled_tasks SET updated_at = updated_at - interval '301 s'")
            worker.clean()
    starts = {table.row(task)["execute_at"] - table.row(task)["updated_at"] for task in tasks}
    assert len(starts) == 4
    assert all(timedelta(seconds=120) <= start <= timedelta(seconds=144) for start in starts)


def test_old_completed_and_cancelled_rows_are_deleted_and_failed_ones_kept(table: Table) -> None:
    table.sql(
        "INSERT INTO scheduled_tasks (task_type, status, updated_at, execute_at)"
        " SELECT 'probe', status, now() - age, '2999-01-01Z'"
        "   FROM unnest('{pending,completed,failed,cancelled}'::text[]) status,"
        "        unnest('{1 d,8 d}'::interval[]) age, generate_series(1, 700)"
    )
    with bench(table, WORKER_RETENTION="7d") as worker:
        worker.clean()
    kept = table.sql(
        "SELECT status, count(*) FROM scheduled_tasks GROUP BY status",
    )
    assert {row["status"]: row["count"] for row in kept} == {
        "cancelled": 700,
        "completed": 700,
        "failed": 1400,
        "pending": 1400,
    }


def test_without_a_retention_nothing_is_deleted(table: Table) -> None:
    task = table.insert(status="completed", updated_at="2020-01-01T00:00:00Z")
    with bench(table) as worker:
        worker.clean()
    assert table.row(task)["status"] == "completed"


@pytest.mark.alters
def test_a_row_that_a_rule_of_the_users_keeps_stuck_does_not_keep_the_others(
    table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    kept, free = (table.insert(status="processing", updated_at="2020-01-01T00:00:00Z") for _ in range(2))
    table.sql("ALTER TABLE scheduled_tasks ADD COLUMN own boolean NOT NULL DEFAULT false")
    table.sql("UPDATE scheduled_tasks SET own = true, updated_at = '2020-01-02Z' WHERE id = %(id)s", id=kept)
    table.sql("ALTER TABLE scheduled_tasks ADD CONSTRAINT own_rule CHECK (NOT own OR status = 'processing')")
    with bench(table) as worker, caplog.at_level(logging.INFO):
        worker.clean()
    assert (table.row(kept)["status"], table.row(free)["status"]) == ("processing", "pending")
    assert f"refuses any end of task {kept}" in caplog.text


@pytest.mark.alters
def test_a_trigger_that_raises_at_commit_does_not_keep_the_others_stuck(table: Table) -> None:
    kept, free = (table.insert(status="processing", updated_at="2020-01-01T00:00:00Z") for _ in range(2))
    table.sql(
        """
        CREATE FUNCTION hands_off() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'hands off'; END $$;
        CREATE CONSTRAINT TRIGGER hands_off AFTER UPDATE ON scheduled_tasks DEFERRABLE INITIALLY DEFERRED
           FOR EACH ROW WHEN (OLD.id = 1) EXECUTE FUNCTION hands_off()
        """
    )
    with bench(table) as worker:
        worker.clean()
    assert (kept, table.row(kept)["status"], table.row(free)["status"]) == (1, "processing", "pending")


def test_a_worker_that_was_cut_off_has_a_moment_to_beat_again(table: Table) -> None:
    task = table.insert()
    gate = Gate()
    with bench(table) as cut_off, bench(table, "boot-2") as other:
        cut_off.probe.behave = gate
        cut_off.poll()
        gate.wait_until_entered()
        table.age(task, 301)
        now = time.monotonic()
        other.cleaner.look(now)
        cut_off.heartbeat.turn()
        other.cleaner.look(now + CATCH_UP)
        gate.open()
        cut_off.settle()
    assert (table.row(task)["status"], table.row(task)["attempts"]) == ("completed", 1)


def test_a_stuck_row_is_looked_at_again_when_a_live_worker_would_have_beaten(table: Table) -> None:
    table.insert(status="processing", updated_at="2020-01-01T00:00:00Z")
    with bench(table) as worker:
        assert worker.cleaner.look(0.0) == CATCH_UP
