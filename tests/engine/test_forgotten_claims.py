"""Claims that the database forgot in a crash: they are committed asynchronously."""

import pytest

from at_worker import Done, Retry
from tests.engine.bench import Bench, Gate, bench
from tests.tables import Table

CRASH = """
UPDATE scheduled_tasks
   SET status = 'pending', claim_seq = claim_seq - 1, locked_by = NULL, started_at = NULL,
       updated_at = created_at
 WHERE status = 'processing'
"""
ATTEMPTS = "SELECT attempt, outcome FROM scheduled_tasks_attempts"


def _claim_again(worker: Bench, table: Table, task: int) -> None:
    worker.poll()
    row = table.row(task)
    assert (row["status"], row["claim_seq"], row["locked_by"]) == ("processing", 1, worker.queue.holder)


def test_a_task_that_runs_goes_on_where_its_claim_was_forgotten_and_made_again(table: Table) -> None:
    task = table.insert()
    gate = Gate()
    with bench(table) as worker:
        worker.probe.behave = gate
        worker.poll()
        gate.wait_until_entered()
        table.sql(CRASH)
        _claim_again(worker, table, task)
        gate.open()
        worker.settle()
        worker.work()
        assert len(worker.probe.attempts) == 1
    row = table.row(task)
    assert (row["status"], row["attempts"], row["claim_seq"]) == ("completed", 1, 1)
    assert table.sql(ATTEMPTS) == []


def test_it_goes_on_also_where_a_heartbeat_came_first_and_found_the_claim_lost(table: Table) -> None:
    task = table.insert()
    gate = Gate()
    with bench(table) as worker:
        worker.probe.behave = gate
        worker.poll()
        gate.wait_until_entered()
        table.sql(CRASH)
        worker.heartbeat.turn()
        assert worker.leases.claims() == []
        _claim_again(worker, table, task)
        assert len(worker.leases.claims()) == 1
        gate.open()
        worker.settle()
        assert len(worker.probe.attempts) == 1
        assert worker.leases.count == 0
    assert (table.row(task)["status"], table.row(task)["attempts"]) == ("completed", 1)


def test_an_end_that_waits_to_be_written_is_the_end_of_the_claim_that_was_made_again(table: Table) -> None:
    task = table.insert()
    with bench(table) as worker:
        worker.probe.behave = lambda _payload, _attempt: Retry("it broke")
        worker.poll()
        assert worker.wait()
        table.sql(CRASH)
        _claim_again(worker, table, task)
        worker.settle()
        assert len(worker.probe.attempts) == 1
        assert worker.leases.count == 0
    assert (table.row(task)["status"], table.row(task)["attempts"]) == ("pending", 1)
    assert table.sql(ATTEMPTS) == [{"attempt": 1, "outcome": "retry"}]


def test_it_is_that_also_where_a_heartbeat_came_first_and_found_the_claim_lost(table: Table) -> None:
    task = table.insert()
    with bench(table) as worker:
        worker.poll()
        assert worker.wait()
        table.sql(CRASH)
        worker.heartbeat.turn()
        _claim_again(worker, table, task)
        worker.settle()
        assert len(worker.probe.attempts) == 1
        assert worker.leases.count == 0
    assert (table.row(task)["status"], table.row(task)["attempts"]) == ("completed", 1)


def test_a_task_whose_end_found_its_claim_forgotten_runs_again(table: Table) -> None:
    task = table.insert()
    with bench(table) as worker:
        worker.poll()
        assert worker.wait()
        table.sql(CRASH)
        worker.settle()
        assert table.row(task)["status"] == "pending"
        worker.work()
        assert len(worker.probe.attempts) == 2
    assert (table.row(task)["status"], table.row(task)["attempts"]) == ("completed", 1)


def test_what_another_worker_claimed_meanwhile_is_its_own(table: Table) -> None:
    """It got the very number of the forgotten claim."""
    task = table.insert()
    gate = Gate(Retry("of a ghost"))
    with bench(table) as worker, bench(table, boot="boot-2") as other:
        worker.probe.behave = gate
        worker.poll()
        gate.wait_until_entered()
        table.sql(CRASH)
        other.probe.behave = lambda _payload, _attempt: Done("of the living")
        other.poll()
        gate.open()
        worker.settle()
        assert table.row(task)["claim_seq"] == 1
        other.settle()
    row = table.row(task)
    assert (row["status"], row["attempts"], row["result"]) == ("completed", 1, "of the living")
    assert table.sql(ATTEMPTS) == []


def test_a_claim_made_again_in_the_moment_in_which_it_counts_as_lost_does_not_hang(table: Table) -> None:
    task = table.insert()
    gate = Gate()
    with bench(table) as worker:
        worker.probe.behave = gate
        worker.poll()
        gate.wait_until_entered()
        table.sql(CRASH)
        (claim,) = worker.leases.claims()
        _claim_again(worker, table, task)
        worker.leases.lose(claim)  # as a heartbeat from before the second claim says
        worker.poll()
        gate.wait_until_entered()
        gate.open()
        worker.settle()
    row = table.row(task)
    assert (row["status"], row["attempts"], row["claim_seq"]) == ("completed", 1, 2)


@pytest.mark.parametrize("noticed", [False, True])
def test_another_task_under_the_id_of_one_that_runs_is_not_taken_for_it(table: Table, noticed: bool) -> None:
    """The table was emptied, or a standby that goes on never saw the first task."""
    first = table.insert()
    gates = [Gate(Done("of the first")), Gate(Done("of the second"))]
    with bench(table) as worker:
        worker.probe.behave = gates[0]
        worker.poll()
        gates[0].wait_until_entered()
        table.sql("TRUNCATE scheduled_tasks RESTART IDENTITY")
        if noticed:
            worker.heartbeat.turn()
        second = table.insert()
        worker.probe.behave = gates[1]
        _claim_again(worker, table, second)
        gates[1].wait_until_entered()
        gates[0].open()
        table.wait_for(lambda: len(worker.runner.running()) == 1)
        worker.settler.turn()
        assert table.row(second)["status"] == "processing"
        gates[1].open()
        worker.settle()
    assert first == second
    assert (table.row(second)["status"], table.row(second)["result"]) == ("completed", "of the second")
