"""Executors that end by a Future: their thread is free, their task runs on."""

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import cast

import pytest

from at_worker import Done, InvalidPayload, Outcome, Retry
from at_worker.engine.destination import FAILURES
from at_worker.jsontext import Json
from at_worker.plugin import Attempt
from tests.engine.bench import PATIENCE, Bench, bench
from tests.tables import Table

AGAIN = Retry("no connection", unreachable=True)


class Promises:
    """A plug-in whose attempts end when the test says so."""

    def __init__(self) -> None:
        self.given: dict[int, Future[Outcome]] = {}
        self.parsed = 0
        self._begun = threading.Semaphore(0)

    def parse(self, payload: Json) -> Json:
        self.parsed += 1
        return payload

    def destination(self, payload: Json) -> str | None:
        assert isinstance(payload, Mapping)
        to = payload.get("to")
        assert isinstance(to, str | None)
        return to

    def execute(self, _payload: Json, attempt: Attempt) -> Future[Outcome]:
        future = self.given[attempt.task_id] = Future()
        self._begun.release()
        return future

    def close(self) -> None:
        pass

    def wait_until_begun(self, tasks: int) -> None:
        """Wait until so many more attempts have begun."""
        for _ in range(tasks):
            assert self._begun.acquire(timeout=PATIENCE)


def begin(worker: Bench, promises: Promises, tasks: int) -> None:
    """Claim, and wait until so many more attempts have begun."""
    worker.poll()
    promises.wait_until_begun(tasks)


def test_as_many_run_as_may_and_each_end_lets_the_next_begin(table: Table) -> None:
    tasks = [table.insert() for _ in range(6)]
    promises = Promises()
    with bench(table, known={"probe": promises}, WORKER_CONCURRENCY="4") as worker:
        begin(worker, promises, 4)
        assert worker.runner.room == 0
        promises.given[tasks[0]].set_result(Done("first"))
        begin(worker, promises, 1)
        for number in (1, 2, 3, 4):
            promises.given[tasks[number]].set_result(Done())
        promises.wait_until_begun(1)
        assert not worker.runner.wait_until_idle(time.monotonic())
        promises.given[tasks[5]].set_result(Done())
        worker.settle()
    assert {table.row(task)["status"] for task in tasks} == {"completed"}
    assert table.row(tasks[0])["result"] == "first"


@pytest.mark.parametrize(
    ("ended", "status", "error"),
    [
        (Done(), "completed", None),
        (Retry("busy"), "pending", "busy"),
        (ValueError("odd"), "pending", "ValueError: odd"),
        (SystemExit(1), "pending", "SystemExit: 1"),
        (InvalidPayload("to", "is wrong"), "failed", "invalid payload: to: is wrong"),
        (None, "pending", "the executor of probe returned NoneType, not Done, Retry or Fail"),
    ],
)
@pytest.mark.parametrize("early", [True, False])
def test_it_ends_as_an_attempt_in_its_thread_would(
    table: Table,
    ended: Outcome | BaseException | None,
    status: str,
    error: str | None,
    early: bool,
) -> None:
    """Also where the Future is done before the worker has it."""
    task = table.insert()

    def finish(future: Future[Outcome]) -> None:
        if isinstance(ended, BaseException):
            future.set_exception(ended)
        else:
            future.set_result(cast("Outcome", ended))

    class Hasty(Promises):
        def execute(self, payload: Json, attempt: Attempt) -> Future[Outcome]:
            future = super().execute(payload, attempt)
            finish(future)
            return future

    promises = Hasty() if early else Promises()
    with bench(table, known={"probe": promises}) as worker:
        begin(worker, promises, 1)
        if not early:
            finish(promises.given[task])
        worker.settle()
        assert worker.leases.count == 0
    row = table.row(task)
    assert (row["status"], row["error_message"], row["attempts"]) == (status, error, 1)


def test_one_that_is_cancelled_is_tried_again(table: Table) -> None:
    task = table.insert()
    promises = Promises()
    with bench(table, known={"probe": promises}) as worker:
        begin(worker, promises, 1)
        promises.given[task].cancel()
        worker.settle()
    assert (table.row(task)["status"], table.row(task)["error_message"]) == ("pending", "CancelledError")


def test_one_that_overruns_costs_no_thread_and_comes_too_late(table: Table) -> None:
    task = table.insert()
    promises = Promises()
    with bench(table, known={"probe": promises}, WORKER_CONCURRENCY="1") as worker:
        begin(worker, promises, 1)
        worker.watchdog.look(time.monotonic() + 302)
        assert worker.runner.written_off == 0
        assert worker.runner.room == 1
        worker.settle()
        row = table.row(task)
        promises.given[task].set_result(Done("too late"))
        worker.settle()
        assert worker.runner.room == 1
    assert (row["status"], row["error_message"]) == (
        "pending",
        "timed out after 300 s, may still be running",
    )
    assert table.row(task) == row


def test_its_destination_counts_it_until_its_end(table: Table) -> None:
    """The next begins then, with the payload as it was parsed before it had to wait."""
    tasks = [table.insert(payload={"to": "there"}) for _ in range(2)]
    promises = Promises()
    settings = {"WORKER_DESTINATION_CONCURRENCY": "1"}
    with bench(table, known={"probe": promises}, **settings) as worker:
        begin(worker, promises, 1)
        for _ in range(2):
            (running,) = (task for task, future in promises.given.items() if not future.done())
            promises.given[running].set_result(Done())
            if len(promises.given) == 1:
                promises.wait_until_begun(1)
        worker.settle()
    assert promises.parsed == 2
    assert {table.row(task)["status"] for task in tasks} == {"completed"}


def test_destinations_that_cannot_be_reached_are_noticed(table: Table) -> None:
    for _ in range(FAILURES):
        table.insert(payload={"to": "there"})
    promises = Promises()
    with bench(table, known={"probe": promises}, WORKER_CONCURRENCY="8") as worker:
        begin(worker, promises, FAILURES)
        for future in promises.given.values():
            assert worker.destinations.broken == 0
            future.set_result(AGAIN)
        worker.settle()
        assert worker.destinations.broken == 1


def test_an_overrun_makes_room_for_what_is_due(table: Table) -> None:
    """No thread is spawned for it, so one that sleeps has to come."""
    late, due = table.insert(), table.insert()
    promises = Promises()
    with bench(table, known={"probe": promises}, WORKER_CONCURRENCY="1") as worker:
        begin(worker, promises, 1)
        (claimed,) = worker.queue.claim(1, 1).tasks
        worker.leases.take(claimed)
        worker.runner.start(claimed)
        running = worker.runner.running()
        assert [one.task.id for one in running] == [late]
        worker.runner.write_off(running[0])
        promises.wait_until_begun(1)
        assert promises.given.keys() == {late, due}


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class Unfinished(Future[Outcome]):
    def __init__(self) -> None:
        """Without what a Future needs."""


@pytest.mark.parametrize("broken", ["unprintable", "unfinished"])
def test_whatever_a_plug_in_does_its_destination_is_free_again(table: Table, broken: str) -> None:
    first, second = (table.insert(payload={"to": "there"}) for _ in range(2))

    class Broken(Promises):
        def execute(self, payload: Json, attempt: Attempt) -> Future[Outcome]:
            future = super().execute(payload, attempt)
            return Unfinished() if broken == "unfinished" and attempt.task_id == first else future

    promises = Broken()
    with bench(table, known={"probe": promises}, WORKER_DESTINATION_CONCURRENCY="1") as worker:
        begin(worker, promises, 1)
        if broken == "unprintable":
            promises.given[first].set_exception(Unprintable())
        promises.wait_until_begun(1)
        promises.given[second].set_result(Done())
        worker.settle()
        assert worker.leases.count == 0
    assert table.row(second)["status"] == "completed"
