import time
from datetime import datetime

from at_worker import Done
from tests.engine.bench import Gate, bench
from tests.tables import Table


def _in(table: Table, seconds: float) -> datetime:
    (row,) = table.sql("SELECT now() + %(seconds)s * interval '1 second' AS instant", seconds=seconds)
    instant: datetime = row["instant"]
    return instant


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
        worker.watchdog.look(time.monotonic() + 59)
        gate.open()
        worker.settle()
    assert table.row(task)["status"] == "completed"


def test_a_task_that_no_thread_could_begin_in_time_is_given_back_for_others(table: Table) -> None:
    table.insert()
    gate = Gate()
    with bench(table, WORKER_CONCURRENCY="1") as busy, bench(table, "boot-2") as idle:
        busy.probe.behave = gate
        busy.poll()
        gate.wait_until_entered()
        waiting = table.insert()
        (claimed,) = busy.queue.claim(1, 1).tasks
        busy.leases.take(claimed)
        busy.runner.start(claimed)
        busy.watchdog.look(time.monotonic() + 1.1)
        busy.settler.turn()
        assert table.row(waiting)["status"] == "pending"
        idle.work()
        gate.open()
        busy.settle()
    assert (table.row(waiting)["status"], table.row(waiting)["attempts"]) == ("completed", 1)


def test_a_held_task_whose_instant_finds_all_threads_busy_is_given_back_for_others(table: Table) -> None:
    gate = Gate()
    with bench(table, WORKER_CONCURRENCY="1") as busy, bench(table, "boot-2") as idle:
        busy.probe.behave = gate
        busy.poll()
        held = table.insert(execute_at=_in(table, 0.2))
        busy.poll()
        table.insert()
        busy.poll()
        gate.wait_until_entered()
        busy.watchdog.look(time.monotonic() + 0.9)
        assert busy.runner.held == 1
        busy.watchdog.look(time.monotonic() + 1.3)
        busy.settler.turn()
        assert (table.row(held)["status"], busy.runner.held) == ("pending", 0)
        idle.poll()
        table.wait_for(lambda: idle.runner.held == 0 or None)
        idle.settle()
        gate.open()
        busy.settle()
    assert (table.row(held)["status"], table.row(held)["attempts"]) == ("completed", 1)


def test_a_thread_that_comes_back_late_is_not_held_against_the_worker(table: Table) -> None:
    with bench(table, WORKER_CONCURRENCY="1") as worker:
        for _ in range(2):
            gate = Gate()
            worker.probe.behave = gate
            table.insert()
            worker.poll()
            gate.wait_until_entered()
            assert worker.runner.written_off == 0
            worker.runner.write_off(worker.runner.running()[0])
            gate.open()
            table.wait_for(lambda: worker.runner.written_off == 0 or None)
    assert not worker.gave_up


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
