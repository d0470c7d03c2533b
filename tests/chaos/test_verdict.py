"""Each rule is broken by hand once, so that none of them is blind."""

from dataclasses import replace

import pytest

from tests.chaos.audit import Change, Row, State
from tests.chaos.faults import Fault
from tests.chaos.ledger import Delivery
from tests.chaos.verdict import Record, violations

UID = "11111111-1111-1111-1111-111111111111"
NEW = State("pending", 0, 0)
LOST = "lost: worker w-1/a was killed by SIGKILL, may have run"


def claimed(seq: int, attempts: int) -> State:
    return State("processing", seq, attempts)


def life(*steps: tuple[float, State, str, str | None]) -> list[Change]:
    """The changes of task 1: instant, new state, boot id, error."""
    changes = [Change(1, 0.0, None, NEW)]
    for at, new, boot_id, error in steps:
        changes.append(Change(1, at, changes[-1].new, new, boot_id, error))
    return changes


def delivered(attempt: int, start: float, end: float, status: int = 200) -> Delivery:
    return Delivery(1, UID, attempt, start, end, status)


def record(changes: list[Change], deliveries: list[Delivery], *faults: Fault) -> Record:
    last = changes[-1].new
    assert last is not None
    return Record([Row(1, UID, last)], changes, deliveries, faults)


# Claimed by a at 1, which was killed at 3 after the delivery and lost the task at 4; b did it again.
TWICE = life(
    (1.0, claimed(1, 0), "a", None),
    (4.0, State("pending", 1, 1), "a", LOST),
    (5.0, claimed(2, 1), "b", None),
    (6.0, State("completed", 2, 2), "b", None),
)
BOTH = [delivered(1, 2.0, 2.5), delivered(2, 5.1, 5.2)]
KILLED = Fault("killed", since=3.0, boot_id="a")
FROZEN = Fault("frozen", since=2.2, until=7.0, boot_id="a", patience=1.5)

ONCE = life((1.0, claimed(1, 0), "a", None), (2.0, State("completed", 1, 1), "a", None))
ONE = [delivered(1, 1.1, 1.9)]

HANDED_BACK = life(
    (1.0, claimed(1, 0), "a", None),
    (2.0, State("pending", 1, 0), "a", None),
    (3.0, claimed(2, 0), "b", None),
    (4.0, State("completed", 2, 1), "b", None),
)
RETRIED = life(
    (1.0, claimed(1, 0), "a", None),
    (2.0, State("pending", 1, 1), "a", "HTTP 503 from 127.0.0.1"),
    (3.0, claimed(2, 1), "a", None),
    (4.0, State("completed", 2, 2), "a", None),
)
# The database forgot the first claim of it when it crashed at 3.
FORGOTTEN = life((5.0, claimed(1, 0), "a", None), (6.0, State("completed", 1, 1), "a", None))
AGAIN = [delivered(1, 2.5, 2.9), delivered(1, 5.1, 5.2)]


@pytest.mark.parametrize(
    "fine",
    [
        record(ONCE, ONE),
        record(TWICE, BOTH, KILLED),
        record(TWICE, [BOTH[1]], KILLED),
        record(TWICE, [delivered(1, 2.0, 9.0), BOTH[1]], FROZEN),
        record(TWICE, [delivered(1, 7.5, 7.6), BOTH[1]], FROZEN),
        record(HANDED_BACK, [delivered(1, 3.1, 3.2)]),
        record(RETRIED, [delivered(1, 1.1, 1.2, 503), delivered(2, 3.1, 3.2)]),
        replace(record(FORGOTTEN, AGAIN), crashes=[3.0]),
        replace(record(FORGOTTEN, [delivered(1, 3.9, 9.0), AGAIN[1]]), crashes=[3.0]),
        replace(record(FORGOTTEN, [AGAIN[0], delivered(1, 3.5, 3.6), AGAIN[1]]), crashes=[2.9, 3.0]),
    ],
    ids=[
        *("once", "killed after", "killed before", "frozen", "woken up", "handed back", "refused"),
        *("forgotten", "forgotten and still running", "forgotten twice"),
    ],
)
def test_what_may_happen_is_no_violation(fine: Record) -> None:
    assert violations(fine) == []


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        (replace(record(ONCE, ONE), rows=[]), "is gone"),
        (record([*ONCE, Change(1, 3.0, ONCE[-1].new, None)][:3], ONE[:0]), "nobody accepted"),
        (record(ONCE[:1], []), "did not end: it is pending"),
        (record(ONCE[:2], ONE), "did not end: it is processing"),
        (record(life((1.0, State("failed", 0, 0), "", "expired")), []), "ended as failed"),
        (replace(record(ONCE, ONE), failing={1}), "ended as completed"),
        (record(ONCE, [delivered(1, 1.1, 1.9, 500)]), "nobody accepted"),
        (record(ONCE, [delivered(1, 1.1, 2.1)]), "before its last attempt was accepted"),
        (record(TWICE, [BOTH[0], delivered(2, 5.1, 6.1)], KILLED), "before its last attempt was accepted"),
        (record(ONCE, [*ONE, replace(ONE[0], task=2)]), "not known"),
        (replace(record(ONCE, ONE), rows=[Row(1, UID, State("completed", 1, 1)), Row(2, UID, NEW)]), "never"),
        (record(TWICE, BOTH), "which no fault had hit"),
        (record(TWICE, BOTH, replace(KILLED, boot_id="b")), "which no fault had hit"),
        (record(TWICE, BOTH, replace(KILLED, since=4.5)), "which no fault had hit"),
        (record(TWICE, BOTH, replace(FROZEN, patience=5.0)), "which no fault had hit"),
        (record(TWICE, BOTH, Fault("frozen", 0.0, 0.5, "a")), "which no fault had hit"),
        (record(TWICE, BOTH, Fault("frozen", 1.5, 1.6 - 10.0, "a")), "which no fault had hit"),
        (record(ONCE, [*ONE, *ONE]), "delivered twice in attempt 1"),
        (record(HANDED_BACK, [delivered(1, 1.1, 1.2), delivered(1, 3.1, 3.2)]), "delivered twice"),
        (record(FORGOTTEN, AGAIN), "delivered twice in attempt 1"),
        (replace(record(FORGOTTEN, AGAIN), crashes=[3.6]), "delivered twice in attempt 1"),
        (replace(record(FORGOTTEN, AGAIN), crashes=[0.4]), "delivered twice in attempt 1"),
        (replace(record(FORGOTTEN, [AGAIN[0], *AGAIN]), crashes=[3.0]), "delivered twice in attempt 1"),
        (replace(record(FORGOTTEN, [*AGAIN, AGAIN[1]]), crashes=[3.0]), "delivered twice in attempt 1"),
        (replace(record(ONCE, [*ONE, *ONE]), crashes=[1.5]), "delivered twice in attempt 1"),
        (record(ONCE, [*ONE, delivered(2, 3.0, 3.1)]), "attempt 2, which was not counted"),
        (record(ONCE, [replace(ONE[0], uid="other")]), "was delivered as other"),
        (replace(record(ONCE, ONE), rows=[Row(1, UID, State("completed", 1, 2))]), "but 1 were made"),
        (record(RETRIED, [delivered(1, 1.1, 1.2), delivered(2, 3.1, 3.2)]), "counts as failed"),
        (record(RETRIED, [delivered(2, 3.1, 3.2)]), "failed before it was delivered"),
        (record(RETRIED, [delivered(1, 1.1, 3.2, 503), delivered(2, 3.1, 3.3)]), "ran twice at one time"),
        (record(TWICE, [delivered(1, 8.5, 8.6), BOTH[1]], FROZEN), "did not own it any more"),
        (record(RETRIED, [delivered(1, 2.5, 2.6, 503), delivered(2, 3.1, 3.3)]), "did not own it any more"),
    ],
)
def test_what_may_not_happen_is_found(broken: Record, found: str) -> None:
    assert any(found in violation for violation in violations(broken)), violations(broken)


@pytest.mark.parametrize(
    "step",
    [
        (State("completed", 1, 1), State("completed", 1, 1)),
        (State("completed", 1, 1), State("pending", 1, 1)),
        (State("failed", 1, 1), claimed(2, 1)),
        (State("cancelled", 1, 0), State("completed", 1, 1)),
        (State("pending", 0, 0), State("completed", 0, 1)),
        (State("pending", 0, 0), claimed(2, 0)),
        (State("pending", 0, 0), claimed(1, 1)),
        (State("pending", 0, 0), State("pending", 0, 1)),
        (claimed(1, 0), claimed(2, 0)),
        (claimed(1, 0), State("completed", 1, 0)),
        (claimed(1, 0), State("completed", 2, 1)),
        (claimed(1, 0), State("pending", 1, 2)),
        (claimed(1, 1), State("failed", 1, 0)),
        (State("completed", 1, 1), None),
    ],
)
def test_a_change_that_the_life_of_a_task_does_not_know_is_found(step: tuple[State, State | None]) -> None:
    old, new = step
    changes = [Change(1, 0.0, None, old), Change(1, 1.0, old, new)]
    found = violations(Record([Row(1, UID, new or old)], changes, []))
    assert any(what.startswith("task 1 changed from ") for what in found)
