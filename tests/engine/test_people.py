"""What people do to rows with plain UPDATEs, in every state."""

import pytest

from at_worker import Done, Retry
from tests.engine.bench import Gate, bench
from tests.tables import Table

STATES = ("pending", "processing", "completed", "failed", "cancelled")


def test_a_pending_task_that_is_rescheduled_runs_then(table: Table) -> None:
    task = table.insert(execute_at="2999-01-01T00:00:00Z")
    with bench(table) as worker:
        worker.work()
        table.sql("UPDATE scheduled_tasks SET execute_at = now() WHERE id = %(id)s", id=task)
        worker.work()
    assert table.row(task)["status"] == "completed"


def test_a_retry_can_be_rescheduled(table: Table) -> None:
    task = table.insert()
    with bench(table) as worker:
        worker.probe.behave = lambda _payload, _attempt: Retry("not now")
        worker.work()
        worker.probe.behave = lambda _payload, _attempt: Done()
        table.sql("UPDATE scheduled_tasks SET execute_at = now() WHERE id = %(id)s", id=task)
        worker.work()
    assert (table.row(task)["status"], table.row(task)["attempts"]) == ("completed", 2)


def test_a_cancelled_pending_task_does_not_run(table: Table) -> None:
    task = table.insert()
    table.sql("UPDATE scheduled_tasks SET status = 'cancelled' WHERE id = %(id)s", id=task)
    with bench(table) as worker:
        worker.work()
        assert not worker.probe.attempts
    assert table.row(task)["status"] == "cancelled"


@pytest.mark.parametrize("outcome", [Done("thrown away"), Retry("thrown away")])
def test_a_task_cancelled_while_it_runs_stays_cancelled(table: Table, outcome: Done | Retry) -> None:
    task = table.insert()
    gate = Gate(outcome)
    with bench(table) as worker:
        worker.probe.behave = gate
        worker.poll()
        gate.wait_until_entered()
        table.sql("UPDATE scheduled_tasks SET status = 'cancelled' WHERE id = %(id)s", id=task)
        gate.open()
        worker.settle()
    row = table.row(task)
    assert (row["status"], row["result"], row["error_message"]) == ("cancelled", None, None)


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
def test_a_finished_task_can_be_run_again_even_with_its_attempts_used_up(table: Table, state: str) -> None:
    task = table.insert(status=state, attempts=5, max_attempts=5, expires_at="2020-01-01T00:00:00Z")
    table.sql("UPDATE scheduled_tasks SET status = 'pending' WHERE id = %(id)s", id=task)
    with bench(table) as worker:
        worker.work()
    row = table.row(task)
    assert (row["status"], row["attempts"], row["completed_at"] is None) == ("completed", 6, False)


def test_a_task_set_to_pending_while_it_runs_runs_again_and_the_first_result_is_thrown_away(
    table: Table,
) -> None:
    task = table.insert()
    gate = Gate(Done("of the first"))
    with bench(table) as worker:
        worker.probe.behave = gate
        worker.poll()
        gate.wait_until_entered()
        table.sql("UPDATE scheduled_tasks SET status = 'pending' WHERE id = %(id)s", id=task)
        worker.probe.behave = lambda _payload, _attempt: Done("of the second")
        worker.poll()
        gate.open()
        worker.settle()
    assert (table.row(task)["status"], table.row(task)["result"]) == ("completed", "of the second")


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("change", ["execute_at = now()", "status = 'cancelled'", "status = 'pending'"])
def test_every_plain_update_in_every_state_leaves_a_row_that_workers_understand(
    table: Table, state: str, change: str
) -> None:
    task = table.insert(status=state, execute_at="2999-01-01T00:00:00Z")
    table.sql(f"UPDATE scheduled_tasks SET {change} WHERE id = {task}")  # noqa: S608 - constants of this file
    table.sql("UPDATE scheduled_tasks SET execute_at = now()")
    expected = {"status = 'cancelled'": "cancelled", "status = 'pending'": "pending"}.get(change, state)
    assert table.row(task)["status"] == expected
    with bench(table) as worker:
        worker.work()
    assert table.row(task)["status"] == ("completed" if expected == "pending" else expected)
    assert (table.row(task)["completed_at"] is not None) == (table.row(task)["status"] == "completed")


def test_two_workers_with_the_same_name_do_not_hand_back_each_others_claims(table: Table) -> None:
    table.insert()
    with bench(table) as worker, bench(table, "boot-2") as namesake:
        worker.queue.claim(1, 0)
        assert namesake.queue.hand_back_unheld([]) == []


@pytest.mark.alters
def test_a_trigger_of_the_users_own_finds_what_lies_beside_the_table(table: Table) -> None:
    table.sql(
        """
        CREATE TABLE audit (task bigint, status text);
        CREATE FUNCTION record() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN INSERT INTO audit VALUES (NEW.id, NEW.status); RETURN NULL; END';
        CREATE TRIGGER record AFTER UPDATE ON scheduled_tasks FOR EACH ROW EXECUTE FUNCTION record();
        """
    )
    table.insert()
    with bench(table) as worker:
        worker.work()
    assert [row["status"] for row in table.sql("TABLE audit")] == ["processing", "completed"]


@pytest.mark.alters
def test_a_row_that_a_rule_of_the_users_keeps_pending_leaves_the_worker_ready_and_the_others_running(
    table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    kept, free = table.insert(), table.insert()
    table.sql("ALTER TABLE scheduled_tasks ADD COLUMN own boolean NOT NULL DEFAULT false")
    table.sql("UPDATE scheduled_tasks SET own = true WHERE id = %(id)s", id=kept)
    table.sql("ALTER TABLE scheduled_tasks ADD CONSTRAINT own_rule CHECK (NOT own OR status = 'pending')")
    with bench(table) as worker:
        worker.work()
        assert worker.poller.failure is None
        assert (table.row(kept)["status"], table.row(free)["status"]) == ("pending", "completed")
        table.sql("ALTER TABLE scheduled_tasks DROP CONSTRAINT own_rule")
    assert f"PostgreSQL refuses the claim of tasks [{kept}]: " in caplog.text
    with bench(table, "boot-2") as successor:
        successor.work()
    assert table.row(kept)["status"] == "completed"
