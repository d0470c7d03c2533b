"""Tasks that are claimed a moment ahead and started on their instant."""

import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from at_worker.engine import runner
from at_worker.engine.loop import Loop, running
from at_worker.jsontext import Json
from at_worker.plugin import InvalidPayload
from tests.engine.bench import PATIENCE, Bench, Probe, bench
from tests.tables import Table


def _soon(table: Table, milliseconds: int) -> int:
    (row,) = table.sql(
        "INSERT INTO scheduled_tasks (task_type, execute_at)"
        " VALUES ('probe', now() + %(ms)s * interval '1 ms') RETURNING id",
        ms=milliseconds,
    )
    return int(row["id"])


@contextmanager
def opened(table: Table, **variables: str) -> Iterator[Bench]:
    """A worker that is connected already: what is near does not become due while it connects."""
    with bench(table, known=None, **variables) as worker:
        worker.poll()
        yield worker


def _count_down(table: Table, worker: Bench) -> None:
    """Wait until nothing is held any more, and write how the tasks ended."""
    table.wait_for(lambda: worker.runner.held == 0 or None)
    worker.settle()


def test_a_task_that_is_due_in_a_moment_is_claimed_ahead_and_starts_on_its_instant(table: Table) -> None:
    with opened(table) as worker:
        task = _soon(table, 150)
        worker.poll()
        assert (table.row(task)["status"], worker.runner.held) == ("processing", 1)
        _count_down(table, worker)
    row = table.row(task)
    late = (row["started_at"] - row["execute_at"]).total_seconds()
    assert (row["status"], 0 <= late < 0.05) == ("completed", True)


def test_the_payload_is_parsed_once_and_before_the_instant(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "EARLY", 0.1)
    with opened(table) as worker:
        _soon(table, 240)
        worker.poll()
        _count_down(table, worker)
        (attempt,), (parsed,) = worker.probe.attempts, worker.probe.parsed
    assert parsed < attempt.deadline - worker.settings.task_timeout
    assert table.sql("SELECT started_at >= execute_at AS on_time FROM scheduled_tasks") == [{"on_time": True}]


class Slow(Probe):
    """Parses a payload of null for as long as the test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.parsing, self.go_on = threading.Event(), threading.Event()

    def parse(self, payload: Json) -> Json:
        if payload is None:
            self.parsing.set()
            assert self.go_on.wait(PATIENCE)
        return payload


def test_a_payload_that_takes_long_to_parse_holds_up_its_own_task_alone(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither those that are held nor those that are due; and its thread can be written off."""
    monkeypatch.setattr(runner, "EARLY", 0.1)
    slow = Slow()
    with bench(table, known={"probe": slow}, WORKER_CONCURRENCY="2") as worker:
        worker.poll()
        table.sql(
            "INSERT INTO scheduled_tasks (task_type, payload, execute_at) VALUES"
            " ('probe', 'null', now() + interval '200 ms'), ('probe', '{}', now() + interval '240 ms')"
        )
        worker.poll()
        assert slow.parsing.wait(PATIENCE)
        table.insert()
        worker.poll()
        table.wait_for(lambda: len(slow.attempts) == 2 or None)
        worker.watchdog.look(time.monotonic() + worker.settings.task_timeout + 2)
        assert worker.runner.written_off == 1
        slow.go_on.set()
        worker.settle()
    assert len(slow.attempts) == 2
    assert table.sql("SELECT error_message FROM scheduled_tasks WHERE payload = 'null'") == [
        {"error_message": "timed out after 300 s, may still be running"}
    ]


def test_what_was_parsed_too_late_is_forgotten(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its task was written off meanwhile, and nobody will ask for it."""
    monkeypatch.setattr(runner, "EARLY", 0.1)
    made: list[weakref.ref[object]] = []

    class Parsed(dict[str, Json]):
        """Can be referred to weakly."""

    class Making(Slow):
        def parse(self, payload: Json) -> Json:
            parsed = Parsed({"n": super().parse(payload)})
            made.append(weakref.ref(parsed))
            return parsed

    making = Making()
    with bench(table, known={"probe": making}) as worker:
        worker.poll()
        table.sql(
            "INSERT INTO scheduled_tasks (task_type, payload, execute_at)"
            " VALUES ('probe', 'null', now() + interval '200 ms')"
        )
        worker.poll()
        assert making.parsing.wait(PATIENCE)
        worker.watchdog.look(time.monotonic() + worker.settings.task_timeout + 2)
        making.go_on.set()
        table.wait_for(lambda: worker.runner.written_off == 0 or None)
        worker.settle()
        assert [each() for each in made] == [None]


@pytest.mark.parametrize("surprise", [ValueError("no"), SystemExit(1), InvalidPayload("n", "is missing")])
def test_what_is_wrong_with_a_payload_is_told_at_its_instant(table: Table, surprise: BaseException) -> None:
    class Refusing(Probe):
        def parse(self, payload: Json) -> Json:
            super().parse(payload)
            raise surprise

    with bench(table, known={"probe": Refusing()}) as worker:
        worker.poll()
        task = _soon(table, 240)
        worker.poll()
        _count_down(table, worker)
    row = table.row(task)
    assert row["attempts"] == 1
    assert row["error_message"]
    assert row["started_at"] >= (row["original_execute_at"] or row["execute_at"])


def test_a_task_whose_thread_meets_with_a_surprise_is_handed_back(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    def surprise(*_: object) -> None:
        raise OSError

    with opened(table) as worker:
        with monkeypatch.context() as patched:
            patched.setattr(worker.runner, "_await", surprise)
            task = _soon(table, 200)
            worker.poll()
            _count_down(table, worker)
        assert (table.row(task)["status"], table.row(task)["attempts"]) == ("pending", 0)
        worker.work()
    assert table.row(task)["status"] == "completed"


def test_no_task_starts_early(table: Table) -> None:
    with opened(table, WORKER_BATCH_SIZE="50", WORKER_CONCURRENCY="50") as worker:
        while worker.runner.held == 0:  # on a busy machine all may be due before they are claimed
            table.sql(
                "INSERT INTO scheduled_tasks (task_type, execute_at)"
                " SELECT 'probe', now() + n * interval '5 ms' FROM generate_series(1, 49) n"
            )
            worker.poll()
        _count_down(table, worker)
    assert table.sql("SELECT count(*) AS early FROM scheduled_tasks WHERE started_at < execute_at") == [
        {"early": 0}
    ]


def test_a_task_beyond_the_look_ahead_is_left_for_others_until_it_is_near(table: Table) -> None:
    with opened(table) as worker:
        task = _soon(table, 1250)
        pause = worker.poll()
        assert table.row(task)["status"] == "pending"
        assert 0.5 < pause <= 1.1


def _claims(worker: Bench) -> float:
    match worker.tally.told():
        case {"claim_rows": [_, *counts]}:
            return sum(count for count in counts if isinstance(count, int))
    raise AssertionError


def _claims_for(worker: Bench, table: Table, rows: int, apart: float) -> float:
    """How many claims it takes to run rows that are so many milliseconds apart."""
    polling = Loop("poller", worker.poller.turn, lambda _: None)
    worker.poller.plan.wake = polling.wake
    worker.runner.freed = worker.poller.room_freed
    before = _claims(worker)
    table.sql(
        "INSERT INTO scheduled_tasks (task_type, execute_at)"
        " SELECT 'probe', now() + interval '0.2 s' + n * %(apart)s * interval '1 ms'"
        " FROM generate_series(1, %(rows)s) n",
        apart=apart,
        rows=rows,
    )
    worker.poller.heard([])
    with running(polling):
        table.wait_for(lambda: len(worker.probe.attempts) == rows or None)
    return _claims(worker) - before


def test_rows_that_follow_each_other_closely_are_claimed_several_at_a_time(table: Table) -> None:
    """Threads that are freed meanwhile are no reason to look for more."""
    with opened(table, WORKER_CONCURRENCY="32") as worker:
        assert 50 <= _claims_for(worker, table, 500, apart=0.7) < 70


def test_while_no_more_can_be_held_none_is_looked_for(table: Table) -> None:
    with opened(table, WORKER_CONCURRENCY="2", WORKER_BATCH_SIZE="1") as worker:
        assert 100 <= _claims_for(worker, table, 100, apart=10) < 150


def test_what_is_due_goes_before_what_is_near(table: Table) -> None:
    with opened(table, WORKER_BATCH_SIZE="2") as worker:
        due = {table.insert(priority=0) for _ in range(2)}
        near = _soon(table, 200)
        worker.work()
        assert {attempt.task_id for attempt in worker.probe.attempts} == due
        assert table.row(near)["status"] == "pending"


def test_held_tasks_reserve_no_thread(table: Table) -> None:
    with opened(table, WORKER_CONCURRENCY="4") as worker:
        table.sql(
            "INSERT INTO scheduled_tasks (task_type, execute_at)"
            " SELECT 'probe', now() + interval '240 ms' FROM generate_series(1, 4)"
        )
        worker.poll()
        assert worker.runner.held == 4
        due = table.insert()
        worker.work()
        assert table.row(due)["status"] == "completed"


def test_no_more_is_held_than_can_start(table: Table) -> None:
    with opened(table, WORKER_CONCURRENCY="4") as worker:
        table.sql(
            "INSERT INTO scheduled_tasks (task_type, execute_at)"
            " SELECT 'probe', now() + interval '240 ms' FROM generate_series(1, 10)"
        )
        worker.poll()
        worker.poll()
        assert worker.runner.held == 4


def test_more_near_rows_than_can_be_held_are_looked_for_again_though_one_of_them_cannot_start(
    table: Table,
) -> None:
    """As one that became due on the way cannot be held."""
    with opened(table, WORKER_CONCURRENCY="4", WORKER_POLLING_INTERVAL="30") as worker:
        _soon(table, 240)
        _soon(table, 240)
        worker.poll()
        assert worker.runner.held == 2
        table.sql(
            "INSERT INTO scheduled_tasks (task_type, execute_at, expires_at) VALUES"
            " ('probe', now() + interval '200 ms', now()), ('probe', now() + interval '210 ms', NULL),"
            " ('probe', now() + interval '220 ms', NULL)"
        )
        assert worker.poll() < 0.1
        assert worker.runner.held == 3


def test_held_tasks_are_handed_back_uncounted_when_the_worker_stops(table: Table) -> None:
    with opened(table) as worker:
        task = _soon(table, 200)
        worker.poll()
        for held in worker.runner.unstarted():
            worker.execution.give_back(held)
        worker.settle()
    row = table.row(task)
    assert (row["status"], row["attempts"], worker.runner.held) == ("pending", 0, 0)
