"""What becomes of the columns that a claim returns."""

import pytest

from at_worker.store.clock import Clock
from at_worker.store.rows import task
from at_worker.store.session import Row

UID = "00000000-0000-0000-0000-000000000001"


def _row(due: float) -> Row:
    return (7, 1, UID, "probe", 5, "{}", "{}", None, due, due, None, 0, 5, None)


def test_a_task_that_is_due_in_a_moment_is_held_to_its_instant() -> None:
    clock = Clock()
    clock.observe(asked=9.999, database=1000.0, replied=10.0)
    assert task(_row(1000.2), clock.shift, 10.0, 0.25).due == pytest.approx(10.2)


def test_a_clock_that_is_set_back_during_a_claim_holds_no_task_beyond_the_look_ahead() -> None:
    clock = Clock()
    clock.observe(asked=9.999, database=1000.0, replied=10.0)
    clock.observe(asked=10.0, database=1000.0 - 3600.0, replied=10.1)
    assert task(_row(1000.0), clock.shift, 10.1, 0.25).due == pytest.approx(10.35)
