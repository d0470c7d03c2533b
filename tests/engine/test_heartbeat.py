import pytest

from tests.engine.bench import Gate, bench
from tests.tables import Table


def test_a_task_that_outlives_the_stuck_timeout_is_not_run_twice(table: Table) -> None:
    task = table.insert()
    gate = Gate()
    with bench(table) as worker, bench(table, "boot-2") as other:
        worker.probe.behave = gate
        worker.poll()
        gate.wait_until_entered()
        for _ in range(3):
            table.age(task, 200)
            worker.heartbeat.turn()
            other.clean()
            other.work()
        gate.open()
        worker.settle()
        assert not other.probe.attempts
    row = table.row(task)
    assert (row["status"], row["attempts"], row["claim_seq"]) == ("completed", 1, 1)


def test_a_result_that_is_not_written_yet_keeps_its_heartbeat(table: Table) -> None:
    task = table.insert()
    with bench(table) as worker, bench(table, "boot-2") as other:
        worker.poll()
        assert worker.wait()
        table.age(task, 301)
        worker.heartbeat.turn()
        other.clean()
        worker.settle()
    assert table.row(task)["attempts"] == 1


def test_a_row_locked_by_a_person_does_not_cost_the_others_their_heartbeat(table: Table) -> None:
    tasks = [table.insert() for _ in range(101)]
    person = Table(table.dsn)
    gate = Gate()
    with bench(table, WORKER_CONCURRENCY="101", WORKER_BATCH_SIZE="101") as worker:
        worker.probe.behave = gate
        worker.poll()
        gate.wait_until_entered(101)
        table.sql("UPDATE scheduled_tasks SET updated_at = updated_at - interval '200 s'")
        person.sql("BEGIN")
        person.sql("SELECT FROM scheduled_tasks WHERE id = %(id)s FOR UPDATE", id=tasks[0])
        again = worker.heartbeat.turn()
        old = "SELECT count(*) AS n FROM scheduled_tasks WHERE updated_at < now() - interval '100 s'"
        assert table.sql(old) == [{"n": 1}]
        person.sql("ROLLBACK")
        person.close()
        assert again < worker.heartbeat.turn() == worker.settings.heartbeat_interval
        assert table.sql(old) == [{"n": 0}]
        gate.open()
        worker.settle()


def test_a_worker_without_tasks_asks_nothing_of_the_database(table: Table) -> None:
    with bench(table) as worker:
        worker.database.close()
        assert worker.heartbeat.turn() == worker.settings.heartbeat_interval


def test_heartbeats_stop_for_a_task_that_was_taken_away(table: Table) -> None:
    task = table.insert()
    gate = Gate()
    with bench(table) as worker:
        worker.probe.behave = gate
        worker.poll()
        gate.wait_until_entered()
        table.sql("UPDATE scheduled_tasks SET status = 'cancelled' WHERE id = %(id)s", id=task)
        worker.heartbeat.turn()
        assert worker.leases.claims() == []
        gate.open()
        worker.settle()
    assert table.row(task)["status"] == "cancelled"


@pytest.mark.alters
def test_a_heartbeat_that_is_refused_costs_the_others_none_and_is_told_once(
    table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    tasks = [table.insert() for _ in range(5)]
    gate = Gate()
    with bench(table, WORKER_CONCURRENCY="5") as worker:
        worker.probe.behave = gate
        worker.poll()
        gate.wait_until_entered(5)
        table.sql("UPDATE scheduled_tasks SET updated_at = '2020-01-01Z'")
        table.sql(
            "ALTER TABLE scheduled_tasks ADD CONSTRAINT own_rule"
            " CHECK (id <> 3 OR status <> 'processing' OR updated_at < '2021-01-01Z')"
        )
        for _ in range(2):
            worker.heartbeat.turn()
        late = table.sql("SELECT id FROM scheduled_tasks WHERE updated_at < '2021-01-01Z'")
        gate.open()
        worker.settle()
    assert late == [{"id": tasks[2]}]
    assert table.row(tasks[2])["status"] == "completed"
    (line,) = (line for line in caplog.messages if "refuses" in line)
    assert line.startswith(f"[Heartbeat] PostgreSQL refuses the heartbeat of task {tasks[2]}, which ")
