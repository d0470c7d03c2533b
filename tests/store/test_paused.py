"""Types that nobody is to start: what a claim makes of them, and who hears that they go on."""

from at_worker.store.queue import Queue
from tests.engine.bench import bench
from tests.engine.test_listener import listening
from tests.store.test_queue import _ids
from tests.tables import Table


def test_a_paused_type_is_not_claimed_and_the_others_are(table: Table, queue: Queue) -> None:
    table.insert("paused", priority=9)
    other = table.insert("other")
    table.sql("SELECT at_pause('paused')")
    assert _ids(queue.claim(10, 0)) == [other]
    assert _ids(queue.claim(10, 1)) == []


def test_a_pause_counts_for_lanes_that_the_worker_knows_already(table: Table, queue: Queue) -> None:
    table.insert("paused")
    assert queue.claim(10, 0).size == 1
    table.insert("paused")
    table.sql("INSERT INTO scheduled_tasks_paused (task_type) VALUES ('paused')")
    assert queue.claim(10, 1).size == 0


def test_what_comes_next_of_a_paused_type_wakes_nobody(table: Table, queue: Queue) -> None:
    table.insert("paused", execute_at="2999-01-01T00:00:00Z")
    table.sql("SELECT at_pause('paused')")
    assert queue.claim(10, 0).next_due is None


def test_a_task_of_a_paused_type_still_expires(table: Table) -> None:
    task = table.insert("probe", expires_at="2020-01-01T00:00:00Z")
    table.sql("SELECT at_pause('probe')")
    with bench(table) as worker:
        worker.clean()
    assert table.row(task)["status"] == "failed"


def test_what_waited_starts_when_its_type_is_resumed(table: Table) -> None:
    task = table.insert("probe")
    table.sql("SELECT at_pause('probe')")
    with bench(table) as worker:
        worker.work()
        assert table.row(task)["status"] == "pending"
        table.sql("SELECT at_resume('probe')")
        worker.work()
    assert table.row(task)["status"] == "completed"


def test_the_workers_hear_that_a_type_is_resumed(table: Table) -> None:
    table.sql("SELECT at_pause('probe')")
    with listening(table) as heard:
        table.sql("SELECT at_resume('probe')")
        heard.wait_until_connected(2)  # it tells to look at all there is, as a new connection does


def test_both_functions_tell_whether_they_changed_anything(table: Table) -> None:
    told = [
        table.sql(statement)[0]["changed"]
        for statement in (
            "SELECT at_resume('probe') AS changed",
            "SELECT at_pause('probe', 'the receiver is being moved') AS changed",
            "SELECT at_pause('probe') AS changed",
            "SELECT at_resume('probe') AS changed",
        )
    ]
    assert told == [False, True, False, True]


def test_a_pause_tells_who_and_why(table: Table) -> None:
    table.sql("SELECT at_pause('probe', 'the receiver is being moved')")
    (row,) = table.sql("SELECT *, session_user::text AS me, now() AS now FROM scheduled_tasks_paused")
    assert (row["task_type"], row["paused_by"], row["reason"]) == (
        "probe",
        row["me"],
        "the receiver is being moved",
    )
    assert row["paused_at"] <= row["now"]


def test_what_is_due_and_paused_says_so(table: Table) -> None:
    table.insert("a")
    table.insert("b")
    table.sql("SELECT at_pause('a')")
    due = table.sql("SELECT task_type, paused FROM scheduled_tasks_due ORDER BY task_type")
    assert due == [{"task_type": "a", "paused": True}, {"task_type": "b", "paused": False}]
