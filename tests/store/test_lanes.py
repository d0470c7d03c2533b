"""Bounds: what a claim steps over, and what it must never miss."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from at_worker.store.database import Database
from at_worker.store.lanes import Lane, Lanes, Place
from at_worker.store.queue import Queue
from tests.tables import Table

A, B = Lane("a", 5), Lane("b", 5)


def _bound(lanes: Lanes, lane: Lane) -> float:
    known = lanes.begin(0.0)
    assert known is not None
    return known[lane].execute_at


def _surveyed() -> Lanes:
    lanes = Lanes(interval=5.0)
    assert lanes.begin(0.0) is None
    lanes.end([A, B], [], 100.0, exhausted=True)
    return lanes


def test_the_first_claim_looks_at_all_there_is() -> None:
    assert Lanes(interval=5.0).begin(0.0) is None


def test_a_claim_that_took_all_moves_the_bounds_to_its_instant() -> None:
    assert _bound(_surveyed(), A) == 100.0


def test_a_claim_that_left_some_moves_the_bounds_to_what_it_took() -> None:
    lanes = Lanes(interval=5.0)
    lanes.begin(0.0)
    lanes.end([A, B], [(A, Place(50.0, 7)), (A, Place(60.0, 3))], 100.0, exhausted=False)
    assert (_bound(lanes, A), _bound(lanes, B)) == (60.0, float("-inf"))


def test_a_row_that_becomes_pending_behind_the_bound_lowers_it() -> None:
    lanes = _surveyed()
    lanes.lower(A, 90.0)
    assert (_bound(lanes, A), _bound(lanes, B)) == (90.0, 100.0)


def test_what_is_announced_during_a_claim_counts_after_it() -> None:
    lanes = _surveyed()
    lanes.begin(1.0)
    lanes.lower(A, 90.0)
    lanes.end([], [], 200.0, exhausted=True)
    assert (_bound(lanes, A), _bound(lanes, B)) == (90.0, 200.0)


def test_a_lane_that_nobody_knew_is_looked_for() -> None:
    lanes = _surveyed()
    lanes.lower(Lane("new", 5), 100.0)
    assert lanes.begin(1.0) is None


def test_bounds_that_are_forgotten_during_a_claim_stay_forgotten_after_it() -> None:
    lanes = _surveyed()
    lanes.begin(1.0)
    lanes.forget()
    lanes.end([], [], 200.0, exhausted=True)
    assert lanes.begin(1.0) is None


def test_bounds_are_forgotten_once_an_interval() -> None:
    lanes = _surveyed()
    assert lanes.begin(4.9) is not None
    assert lanes.begin(5.0) is None


@pytest.fixture
def database(table: Table) -> Iterator[Database]:
    opened = Database(table.settings())
    opened.open()
    yield opened
    opened.close()


def test_rows_of_one_instant_are_taken_one_after_the_other(table: Table, database: Database) -> None:
    tasks = [table.insert(execute_at="2020-01-01T00:00:00.123457Z") for _ in range(6)]
    queue = Queue(database, "w-1/boot", None, survey_interval=1e9)
    claimed = [task.id for turn in range(3) for task in queue.claim(2, turn).tasks]
    assert claimed == tasks


def test_a_claim_within_its_bounds_finds_what_was_announced(table: Table, database: Database) -> None:
    queue = Queue(database, "w-1/boot", None, survey_interval=1e9)
    table.insert("a")
    assert queue.claim(10, 0).size == 1
    old = table.insert("a", execute_at="2020-01-01T00:00:00Z")
    assert queue.claim(10, 1).size == 0
    queue.announced(A, 0.0)
    assert [task.id for task in queue.claim(10, 2).tasks] == [old]


def test_a_lane_that_is_announced_during_a_claim_joins_the_others(table: Table, database: Database) -> None:
    queue = Queue(database, "w-1/boot", None, survey_interval=1e9)
    table.insert("a", execute_at="2999-01-01T00:00:00Z")
    assert queue.claim(10, 0).next_due is not None
    table.sql("BEGIN")
    table.sql("LOCK TABLE scheduled_tasks")
    with ThreadPoolExecutor(1) as pool:
        claim = pool.submit(queue.claim, 10, 1)
        table.wait_for(lambda: table.sql("SELECT pid FROM pg_locks WHERE NOT granted"))
        queue.announced(B, 0.0)
        table.sql("COMMIT")
        assert claim.result().next_due is not None
    assert queue.claim(10, 2).next_due is not None
