"""The attempts that did not succeed: what is kept of each, and when it goes."""

from collections.abc import Callable

from psycopg.rows import DictRow

from at_worker.outcome import Done, Fail, Outcome, Retry
from tests.engine.bench import bench
from tests.store import ddl
from tests.store.test_roles import login
from tests.tables import Table


def _attempts(table: Table) -> list[DictRow]:
    return table.sql("SELECT * FROM scheduled_tasks_attempts ORDER BY ended_at")


def _run(table: Table, *outcomes: Outcome) -> int:
    """One task whose attempts end like this."""
    task = table.insert()
    behaviours = iter(outcomes)
    with bench(table) as worker:
        worker.probe.behave = lambda _payload, _attempt: next(behaviours)
        for _ in outcomes:
            table.sql("UPDATE scheduled_tasks SET execute_at = now() WHERE status = 'pending'")
            worker.work()
    return task


def test_every_attempt_that_did_not_succeed_is_kept(table: Table) -> None:
    task = _run(table, Retry("it broke", result={"status": 503}), Retry("again"), Fail("for good"))
    kept = _attempts(table)
    assert [(row["task_id"], row["attempt"], row["outcome"], row["error_message"]) for row in kept] == [
        (task, 1, "retry", "it broke"),
        (task, 2, "retry", "again"),
        (task, 3, "failed", "for good"),
    ]
    assert [row["result"] for row in kept] == [{"status": 503}, None, None]


def test_an_attempt_tells_who_ran_it_and_when(table: Table) -> None:
    task = _run(table, Fail("for good"))
    (kept,), row = _attempts(table), table.row(task)
    assert (kept["worker"], kept["started_at"]) == (row["locked_by"], row["started_at"])
    assert kept["started_at"] <= kept["ended_at"] <= row["updated_at"]


def test_success_stays_in_the_row(table: Table) -> None:
    _run(table, Retry("it broke"), Done({"status": 200}))
    assert [row["attempt"] for row in _attempts(table)] == [1]


def test_a_claim_that_never_started_is_no_attempt(table: Table) -> None:
    table.insert()
    with bench(table) as worker:
        (task,) = worker.queue.claim(1, 0).tasks
        worker.leases.take(task)
        worker.execution.give_back(task)
        worker.settle()
    assert _attempts(table) == []


def test_an_attempt_whose_worker_died_is_kept_as_lost(table: Table) -> None:
    task = table.insert()
    with bench(table) as worker:
        worker.queue.claim(1, 0)
        table.age(task, 301)
        worker.clean()
    (kept,) = _attempts(table)
    assert (kept["outcome"], kept["attempt"], kept["worker"]) == ("lost", 1, "w-1/boot-1")
    assert kept["error_message"].startswith("lost: worker w-1/boot-1 gave no heartbeat")
    assert kept["started_at"] == table.row(task)["started_at"]


def test_a_result_that_came_too_late_leaves_nothing(table: Table) -> None:
    task = table.insert()
    with bench(table) as worker:
        worker.probe.behave = _cancelling(table, task)
        worker.work()
    assert table.row(task)["status"] == "cancelled"
    assert _attempts(table) == []


def _cancelling(table: Table, task: int) -> Callable[[object, object], Outcome]:
    def behave(_payload: object, _attempt: object) -> Outcome:
        table.sql("UPDATE scheduled_tasks SET status = 'cancelled' WHERE id = %(id)s", id=task)
        return Retry("it broke")

    return behave


def test_attempts_go_with_their_task_alone(table: Table) -> None:
    gone, stays = _run(table, Fail("one")), _run(table, Fail("two"))
    table.sql("DELETE FROM scheduled_tasks WHERE id = %(id)s", id=gone)
    assert [row["task_id"] for row in _attempts(table)] == [stays]


def test_attempts_go_with_the_whole_table(table: Table) -> None:
    _run(table, Fail("for good"))
    table.sql("TRUNCATE scheduled_tasks")
    assert _attempts(table) == []


def test_who_may_delete_tasks_needs_no_right_on_their_attempts(table: Table) -> None:
    _run(table, Fail("for good"))
    with login(table.dsn) as (name, dsn):
        ddl.apply(table.dsn, f"GRANT SELECT, DELETE ON scheduled_tasks TO {name}")
        ddl.apply(dsn, "DELETE FROM scheduled_tasks WHERE status = 'failed'")
    assert _attempts(table) == []
