"""The life of a task as the audit tells it: which claims it had, and how each ended."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.chaos.audit import Change, State

FINISHED = ("completed", "failed", "cancelled")
# Ends that have nothing to do with what the task did: its worker is dead, or had to stop.
FORCED = ("lost: ", "interrupted ")

# By how much claim_seq and attempts grow at each change of the status; all others are forbidden.
LEGAL = {
    ("pending", "processing"): [(1, 0)],
    ("pending", "failed"): [(0, 0)],
    ("pending", "cancelled"): [(0, 0)],
    ("processing", "completed"): [(0, 1)],
    ("processing", "pending"): [(0, 0), (0, 1)],
    ("processing", "failed"): [(0, 0), (0, 1)],
    ("processing", "cancelled"): [(0, 0)],
}


@dataclass(frozen=True, slots=True)
class ClaimLife:
    """A claim from the change that made it to the one that ended it (`until` is infinite where none did)."""

    task: int
    boot_id: str | None
    attempt: int
    since: float
    until: float = math.inf
    status: str | None = None
    counted: bool = False
    error: str | None = None

    @property
    def forced(self) -> bool:
        return self.status in ("pending", "failed") and (self.error or "").startswith(FORCED)


@dataclass(frozen=True, slots=True)
class TaskLife:
    """The claims of a task in their order, and its changes that the life of a task does not know.

    `attempts` are those that it had when it was inserted.
    """

    claims: tuple[ClaimLife, ...]
    illegal: tuple[str, ...]
    attempts: int


def lives(changes: Iterable[Change]) -> dict[int, TaskLife]:
    """The life of every task that was ever inserted."""
    by_task: defaultdict[int, list[Change]] = defaultdict(list)
    for change in changes:
        by_task[change.task].append(change)
    return {
        task: TaskLife(
            tuple(_claims(of_one)),
            tuple(filter(None, map(_illegal, of_one))),
            of_one[0].new.attempts if of_one[0].new else 0,
        )
        for task, of_one in by_task.items()
    }


def _claims(changes: Iterable[Change]) -> Iterator[ClaimLife]:
    held: Change | None = None
    for change in changes:
        if held is not None:
            yield _claim(held, change)
        held = change if change.new is not None and change.new.status == "processing" else None
    if held is not None:
        yield _claim(held, None)


def _claim(begin: Change, end: Change | None) -> ClaimLife:
    assert begin.new is not None
    attempts = begin.new.attempts
    if end is None or end.new is None:
        return ClaimLife(begin.task, begin.boot_id, attempts + 1, begin.at)
    return ClaimLife(
        begin.task,
        begin.boot_id,
        attempts + 1,
        begin.at,
        end.at,
        end.new.status,
        counted=end.new.attempts == attempts + 1,
        error=end.error,
    )


def _illegal(change: Change) -> str | None:
    if _legal(change.old, change.new):
        return None
    return f"task {change.task} changed from {change.old} to {change.new} by {change.boot_id}: {change.error}"


def _legal(old: State | None, new: State | None) -> bool:
    if old is None or new is None:
        return new is not None
    steps = LEGAL.get((old.status, new.status), ())
    return (new.claim - old.claim, new.attempts - old.attempts) in steps
