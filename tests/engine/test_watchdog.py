import time

from at_worker import Done
from tests.engine.bench import Gate, bench
from tests.tables import Table


def test_an_attempt_that_overruns_its_timeout_is_settled_as_a_failure_that_may_pass(table: Table) -> None:
    task = table.insert()
    gate = Gate(Done("too late"))
    with bench(table) as worker:
        worker.probe.behave = gate
        worker.poll()
        gate.wait_until_entered()
        worker.watchdog.look(time.monotonic() + 302)
        worker.settle()
        row = table.row(task)
        gate.open()
        worker.settle()
    assert (row["status"], row["attempts"]) == ("pending", 1)
    assert row["error_message"] == "timed out after 300 s, may still be running"
    assert table.row(task) == row


def test_a_thread_that_is_written_off_is_replaced(table: Table) -> None:
    table.insert()
    gate = Gate()
    with bench(table, WORKER_CONCURRENCY="2") as worker:
        worker.probe.behave = gate
        worker.poll()
        gate.wait_until_entered()
        worker.watchdog.look(time.monotonic() + 302)
        assert worker.runner.room == 2
        worker.probe.behave = lambda _payload, _attempt: Done()
        others = [table.insert() for _ in range(2)]
        worker.work()
        gate.open()
    assert {table.row(task)["status"] for task in others} == {"completed"}


def test_an_attempt_within_its_timeout_is_left_alone(table: Table) -> None:
    task = table.insert()
    gate = Gate()
    with bench(table, WORKER_TASK_TIMEOUT="60") as worker:
        worker.probe.behave = gate
        worker.poll()
        gate.wait_until_entered()
        pause = worker.watchdog.turn()
        gate.open()
        worker.settle()
    assert 55 < pause < 62
    assert table.row(task)["status"] == "completed"


def test_the_process_gives_up_when_no_thread_can_be_trusted(table: Table) -> None:
    table.insert()
    table.insert()
    gate = Gate()
    with bench(table, WORKER_CONCURRENCY="2") as worker:
        worker.probe.behave = gate
        worker.poll()
        gate.wait_until_entered(2)
        worker.watchdog.look(time.monotonic() + 302)
        gate.open()
    assert len(worker.gave_up) == 1
    assert "WORKER_TASK_TIMEOUT" in worker.gave_up[0]
