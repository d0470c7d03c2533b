"""What is announced, and what the poller makes of it."""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from math import inf

import pytest

from at_worker.engine.listener import CHANNEL, Listener
from at_worker.engine.loop import Loop, running
from at_worker.engine.plan import Announcement
from at_worker.store.database import Database
from at_worker.store.errors import Away
from at_worker.store.lanes import Lane
from at_worker.store.presence import Presence
from tests.engine.bench import PATIENCE, Gate, Probe, bench
from tests.tables import Table


class Heard:
    """What a listener told, to wait for."""

    def __init__(self) -> None:
        self._told = threading.Condition()
        self._all: list[Announcement] = []
        self._connected = 0

    def __call__(self, announcements: Sequence[Announcement]) -> None:
        with self._told:
            self._all += announcements
            self._connected += not announcements
            self._told.notify_all()

    def wait_for(self, count: int) -> list[Announcement]:
        with self._told:
            assert self._told.wait_for(lambda: len(self._all) >= count, PATIENCE)
            return list(self._all)

    def wait_until_connected(self, times: int = 1) -> None:
        with self._told:
            assert self._told.wait_for(lambda: self._connected >= times, PATIENCE)


@contextmanager
def listening(table: Table) -> Iterator[Heard]:
    heard = Heard()
    with (
        closing(Database(table.settings())) as database,
        Listener(database, heard, Presence("w-1/boot", "w-1", ["probe"], 4).show) as listener,
        running(Loop("listener", listener.turn, lambda _: None, listener.interrupt)),
    ):
        heard.wait_until_connected()
        yield heard


def _instant(table: Table, task: int) -> float:
    return float(table.row(task)["execute_at"].timestamp() // 1)


def test_a_row_that_is_due_within_a_minute_is_announced_with_its_lane(table: Table) -> None:
    with listening(table) as heard:
        task = table.insert("probe", priority=7)
        assert heard.wait_for(1) == [Announcement(Lane("probe", 7), _instant(table, task), is_due=True)]


def test_a_row_of_the_far_future_is_not_announced(table: Table) -> None:
    with listening(table) as heard:
        table.insert("future", execute_at="2999-01-01T00:00:00Z")
        table.insert("near")
        assert [announcement.lane.task_type for announcement in heard.wait_for(1)] == ["near"]


def test_a_row_that_is_moved_near_is_announced(table: Table) -> None:
    task = table.insert("probe", execute_at="2999-01-01T00:00:00Z")
    with listening(table) as heard:
        table.sql("UPDATE scheduled_tasks SET execute_at = now() WHERE id = %(id)s", id=task)
        assert heard.wait_for(1)[0].lane == Lane("probe", 5)


def test_a_row_that_is_run_again_is_announced_as_long_due(table: Table) -> None:
    task = table.insert("a type of three words", status="failed", execute_at="2020-01-01T00:00:00Z")
    with listening(table) as heard:
        table.sql("UPDATE scheduled_tasks SET status = 'pending' WHERE id = %(id)s", id=task)
        assert heard.wait_for(1) == [Announcement(Lane("a type of three words", 5), -inf, is_due=True)]


def test_a_type_with_too_long_a_name_to_announce_is_looked_for_among_all(table: Table) -> None:
    with listening(table) as heard:
        table.insert("t" * 201)
        heard.wait_until_connected(times=2)
        table.insert("t" * 199)
        assert [each.lane for each in heard.wait_for(1)] == [Lane("t" * 199, 5)]


def test_a_worker_of_a_type_with_a_long_name_hears_of_its_rows(table: Table) -> None:
    long = "t" * 300
    with bench(table, known={long: Probe()}, WORKER_TASK_TYPES=long, WORKER_POLLING_INTERVAL="30") as worker:
        assert worker.poll() > 29
        with (
            closing(Database(table.settings())) as database,
            Listener(database, worker.poller.heard) as listener,
        ):
            listener.turn()
            worker.poller.turn()
            table.insert(long)
            listener.turn()
            assert worker.poller.plan.wait == 0


def test_rows_that_are_announced_wait_behind_those_that_are_known_to_wait(table: Table) -> None:
    gate = Gate()
    with bench(table, WORKER_CONCURRENCY="2") as worker:
        worker.probe.behave = gate
        tasks = [table.insert(priority=9) for _ in range(4)]
        worker.poll()
        gate.wait_until_entered(2)
        gate.open()
        assert worker.wait()
        low = table.insert(priority=0)
        due = Announcement(Lane("probe", 0), _instant(table, low), is_due=True)
        table.wait_for(worker.poller.plan.take)  # as by a claim that is under way
        worker.poller.plan.claim_lane(due)
        worker.poller.turn()
        worker.settle()
    assert {table.row(task)["status"] for task in tasks} == {"completed"}
    assert table.row(low)["status"] == "pending"


def test_a_connection_that_broke_is_made_anew_and_the_gap_is_told(
    table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "at_worker.engine.listener")
    with listening(table) as heard:
        table.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        heard.wait_until_connected(times=2)
        table.insert("probe")
        assert heard.wait_for(1)
    lost, found = [record.getMessage() for record in caplog.records]
    assert lost.startswith("[Listener] Rows are found by polling until LISTEN works again: ")
    assert found == "[Listener] LISTEN works again"


def test_an_announced_row_is_claimed_at_once_and_its_instant_planned(table: Table) -> None:
    with bench(table, WORKER_POLLING_INTERVAL="30") as worker:
        assert worker.poller.turn() > 29
        task = table.insert()
        worker.poller.heard([Announcement(Lane("probe", 5), _instant(table, task), is_due=True)])
        worker.poller.turn()
        worker.settle()
        assert table.row(task)["status"] == "completed"
        (later,) = table.sql("SELECT extract(epoch FROM now() + interval '20 s')::float8 AS instant")
        worker.poller.heard([Announcement(Lane("probe", 5), later["instant"], is_due=False)])
        assert 19 < worker.poller.turn() < 20


def test_rows_that_are_announced_as_due_are_claimed_while_the_instant_of_others_stays_planned(
    table: Table,
) -> None:
    with bench(table, WORKER_POLLING_INTERVAL="30") as worker:
        table.sql(
            "INSERT INTO scheduled_tasks (task_type, execute_at) VALUES ('probe', now() + interval '9 s')"
        )
        assert 8 < worker.poll() < 9
        unheard = table.insert("other")
        tasks = [table.insert(), table.insert()]
        worker.poller.heard([Announcement(Lane("probe", 5), _instant(table, tasks[0]), is_due=True)])
        assert 7 < worker.poller.turn() < 9
        worker.settle()
        assert {table.row(task)["status"] for task in tasks} == {"completed"}
        assert table.row(unheard)["status"] == "pending"


@pytest.mark.parametrize("priorities", [(5, 9), (9, 5)])
def test_rows_of_two_lanes_that_are_due_are_claimed_by_priority(
    table: Table, priorities: tuple[int, int]
) -> None:
    with bench(table, WORKER_POLLING_INTERVAL="30", WORKER_CONCURRENCY="1") as worker:
        worker.poller.turn()
        low, high = table.insert(), table.insert(priority=9)
        for lane in (Lane("probe", priority) for priority in priorities):
            worker.poller.heard([Announcement(lane, _instant(table, low), is_due=True)])
        worker.poller.turn()
        worker.settle()
        assert (table.row(low)["status"], table.row(high)["status"]) == ("pending", "completed")


def test_more_rows_of_a_lane_that_are_due_than_have_room_are_claimed_one_turn_after_the_other(
    table: Table,
) -> None:
    with bench(table, WORKER_POLLING_INTERVAL="30", WORKER_BATCH_SIZE="2") as worker:
        worker.poller.turn()
        tasks = [table.insert() for _ in range(3)]
        worker.poller.heard([Announcement(Lane("probe", 5), _instant(table, tasks[0]), is_due=True)])
        assert worker.poller.turn() == 0
        worker.poller.turn()
        worker.settle()
        assert {table.row(task)["status"] for task in tasks} == {"completed"}


def test_what_a_failed_claim_of_a_lane_left_is_found_by_the_next_turn(table: Table) -> None:
    with bench(table, WORKER_POLLING_INTERVAL="30") as worker:
        worker.poller.turn()
        task = table.insert()
        worker.poller.heard([Announcement(Lane("probe", 5), _instant(table, task), is_due=True)])
        table.sql("ALTER TABLE scheduled_tasks RENAME TO elsewhere")
        with pytest.raises(Away):
            worker.poller.turn()
        table.sql("ALTER TABLE elsewhere RENAME TO scheduled_tasks")
        worker.poller.turn()
        worker.settle()
        assert table.row(task)["status"] == "completed"


def test_types_of_other_workers_wake_nobody(table: Table) -> None:
    with bench(table, WORKER_POLLING_INTERVAL="30", WORKER_TASK_TYPES="probe") as worker:
        worker.poller.turn()
        worker.poller.heard([Announcement(Lane("other", 5), 0.0, is_due=True)])
        assert worker.poller.turn() > 28


def test_words_of_somebody_else_on_the_channel_cost_no_announcement(table: Table) -> None:
    with listening(table) as heard:
        table.sql("BEGIN")
        table.sql("NOTIFY scheduled_tasks, 'hello'")
        table.insert("probe")
        table.sql("COMMIT")
        assert heard.wait_for(1)[0].lane.task_type == "probe"
        heard.wait_until_connected(times=2)


def test_a_connection_that_breaks_before_it_listens_is_an_outage_like_any_other(table: Table) -> None:
    with closing(Database(table.settings())) as database, database.direct() as session:
        table.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        with pytest.raises(Away):
            session.listen(CHANNEL)
        with pytest.raises(Away):
            session.fileno()
