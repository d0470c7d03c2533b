import json
from datetime import timedelta
from typing import Any

import pytest

from at_worker.engine.destination import Postpone
from at_worker.engine.tally import CLAIMS, LATENESS, MOST_TYPES, ROWS, Ended, Histogram, Numbers, Tally, plus
from at_worker.outcome import Done, Fail, Outcome, Retry
from tests.engine.bench import Bench, Gate, bench
from tests.tables import Table

SECOND = timedelta(seconds=1)


def told(tally: Tally) -> Any:  # noqa: ANN401 - as the parent reads it
    return json.loads(json.dumps(tally.told()))


def ended(worker: Bench, task_type: str = "probe") -> dict[str, int]:
    """How often tasks of a type ended in each way that came to pass."""
    counts = told(worker.tally)["types"][task_type]["ended"]
    return {how.value: count for how, count in zip(Ended, counts, strict=True) if count}


@pytest.mark.parametrize(
    ("outcome", "counted"),
    [(Done(), "completed"), (Fail("no"), "failed"), (Retry("later"), "retry")],
)
def test_an_attempt_is_counted_by_its_outcome(outcome: Outcome, counted: str, table: Table) -> None:
    for _ in range(3):
        table.insert()
    with bench(table) as worker:
        worker.probe.behave = lambda _payload, _attempt: outcome
        worker.work()
        assert ended(worker) == {counted: 3}
        assert told(worker.tally)["settle_rows"][0] == 3


def test_what_never_started_is_counted_apart_and_has_no_lateness(table: Table) -> None:
    for _ in range(2):
        table.insert()
    with bench(table) as worker:
        given_back, postponed = worker.queue.claim(2, 1).tasks
        assert worker.leases.take(given_back)
        assert worker.leases.take(postponed)
        worker.execution.give_back(given_back)
        worker.execution.postpone(postponed, Postpone(5.0, "it is away"))
        worker.settle()
        assert ended(worker) == {"returned": 1, "postponed": 1}
        assert sum(told(worker.tally)["types"]["probe"]["late"]) == 0


def test_what_expired_is_counted_by_whoever_met_it(table: Table) -> None:
    table.insert(expires_at="2001-01-01Z")
    with bench(table) as worker:
        worker.poll()
        table.insert("other", expires_at="2001-01-01Z")
        worker.clean()
        assert (ended(worker), ended(worker, "other")) == ({"expired": 1}, {"expired": 1})


def test_a_task_of_a_dead_worker_is_counted_as_lost(table: Table) -> None:
    task = table.insert()
    with bench(table) as dead, bench(table, "boot-2") as alive:
        dead.queue.claim(1, 0)
        table.age(task, 301)
        alive.clean()
        assert ended(alive) == {"lost": 1}


def test_a_result_that_is_thrown_away_is_counted_so_and_as_nothing_else(table: Table) -> None:
    table.insert()
    gate = Gate()
    with bench(table) as worker:
        worker.probe.behave = gate
        worker.poll()
        gate.wait_until_entered()
        table.sql("UPDATE scheduled_tasks SET status = 'cancelled'")
        gate.open()
        worker.settle()
        assert ended(worker) == {"discarded": 1}


@pytest.mark.alters
def test_a_result_that_postgresql_refuses_is_counted_as_the_failure_that_is_written(table: Table) -> None:
    for _ in range(2):
        table.insert()
    table.sql("ALTER TABLE scheduled_tasks ADD CONSTRAINT own_rule CHECK (id <> 1 OR status <> 'completed')")
    with bench(table) as worker:
        worker.work()
        assert ended(worker) == {"completed": 1, "failed": 1}


def test_lateness_counts_from_the_instant_and_not_from_the_claim(table: Table) -> None:
    table.insert(execute_at="2020-01-01Z")
    with bench(table) as worker:
        worker.work()
        total, *counts = told(worker.tally)["types"]["probe"]["late"]
        assert total > 6 * 365 * 86_400
        assert counts == [*[0] * len(LATENESS), 1]


def test_a_run_time_is_that_of_the_executor(table: Table) -> None:
    table.insert()
    gate = Gate()
    with bench(table) as worker:
        worker.probe.behave = gate
        worker.poll()
        gate.wait_until_entered()
        worker.leases.claims()
        gate.open()
        worker.settle()
        total, *counts = told(worker.tally)["types"]["probe"]["ran"]
    assert 0 < total < 10
    assert sum(counts) == 1


def test_a_claim_is_counted_with_its_rows_and_its_time(table: Table) -> None:
    for _ in range(3):
        table.insert()
    with bench(table) as worker:
        worker.work()
        found = told(worker.tally)
        assert found["claim_rows"] == [3, *(bound == 5 for bound in ROWS), 0]
        seconds, *counts = found["claim_seconds"]
        assert 0 < seconds < CLAIMS[-1]
        assert sum(counts) == 1


def test_types_that_the_worker_does_not_know_are_one_series(table: Table) -> None:
    for number in range(4):
        table.insert(f"invented-{number}", max_attempts=1)
    with bench(table) as worker:
        worker.work()
        assert set(told(worker.tally)["types"]) == {"other", "probe"}
        assert ended(worker, "other") == {"failed": 4}


def test_there_is_an_end_to_the_types_that_are_counted_apart() -> None:
    tally = Tally(map(str, range(1000)))
    assert len(told(tally)["types"]) == MOST_TYPES + 1
    # All that a worker tells is one packet of the socket to its parent.
    assert len(json.dumps(tally.told())) < 30_000


def test_a_bound_belongs_to_what_lies_below_it() -> None:
    histogram = Histogram((1.0, 2.0))
    values = (2.5, 1.0, 1.5, 2.0, 0.5)
    for value in values:  # one by one, and many at once
        histogram.observe([value])
    histogram.observe(values)
    assert histogram.told() == [15.0, 4, 4, 2]


def test_what_two_processes_told_is_added_type_by_type() -> None:
    one: Numbers = {"types": {"a": {"ended": [1, 2]}, "b": {"ended": [3, 4]}}, "outages": 1}
    other: Numbers = {"types": {"a": {"ended": [10, 20]}, "c": {"ended": [5, 6]}}, "outages": 2}
    assert plus(one, other) == {
        "types": {"a": {"ended": [11, 22]}, "b": {"ended": [3, 4]}, "c": {"ended": [5, 6]}},
        "outages": 3,
    }
    assert plus(one, {}) == plus({}, one) == one
