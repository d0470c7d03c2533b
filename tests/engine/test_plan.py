"""When the next claim is planned, and of what."""

import time
from collections import deque

import pytest

from at_worker.engine.plan import Announcement, Plan, Scope
from at_worker.store.lanes import Lane

DUE = Announcement(Lane("probe", 5), 100.0, is_due=True)
EARLIER = DUE._replace(execute_at=90.0)
ELSEWHERE = DUE._replace(lane=Lane("other", 5))


@pytest.fixture
def wakes() -> deque[None]:
    return deque()


@pytest.fixture
def plan(wakes: deque[None]) -> Plan:
    """One whose first claim is over, and the next far away."""
    plan = Plan()
    plan.wake = lambda: wakes.append(None)
    assert plan.take() is Scope.ALL
    plan.resume(300)
    return plan


def test_before_its_time_nothing_is_claimed(plan: Plan) -> None:
    assert plan.take() is None
    assert 290 < plan.wait <= 300


def test_an_earlier_instant_wakes_and_a_later_one_does_not(plan: Plan, wakes: deque[None]) -> None:
    plan.claim_by(time.monotonic() + 400)
    assert not wakes
    plan.claim_by(0.0)
    assert (len(wakes), plan.wait) == (1, 0.0)
    assert plan.take() is Scope.ALL


def test_what_is_planned_during_a_claim_counts_for_the_next(plan: Plan) -> None:
    plan.claim_by(0.0)
    plan.take()
    plan.claim_by(0.0)
    plan.resume(300)
    assert plan.take() is Scope.ALL


def test_a_lane_that_is_due_leaves_the_instant_as_it_is(plan: Plan, wakes: deque[None]) -> None:
    plan.claim_lane(DUE)
    assert len(wakes) == 1
    assert plan.take() == DUE
    assert plan.take() is None
    assert plan.wait > 290


def test_of_several_announcements_of_a_lane_the_earliest_counts(plan: Plan) -> None:
    plan.claim_lane(DUE)
    plan.claim_lane(EARLIER)
    plan.claim_lane(DUE)
    assert plan.take() == EARLIER


@pytest.mark.parametrize("also", [ELSEWHERE, None], ids=["another lane", "the instant"])
def test_where_more_than_a_lane_is_due_all_are_claimed_once(plan: Plan, also: Announcement | None) -> None:
    plan.claim_lane(DUE)
    if also is None:
        plan.claim_by(0.0)
    else:
        plan.claim_lane(also)
    assert plan.take() is Scope.ALL
    plan.resume(300)
    assert plan.take() is None
