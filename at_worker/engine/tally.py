"""What one process counts: how tasks ended, how late they started, how long they ran, what claims cost.

Plain numbers without a library: each is counted by the batch, for a busy worker ends a task every few dozen
microseconds. The parent adds up what its processes tell; the library that writes it for Prometheus is there
alone.
"""

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import groupby
from operator import attrgetter
from typing import TypeAlias

from at_worker.outcome import Settlement, Status
from at_worker.store.queue import Batch

Numbers: TypeAlias = "float | list[Numbers] | dict[str, Numbers]"

# Types come from rows that anyone inserts: what this worker does not know, and what goes beyond so many, is
# counted as one.
OTHER = "other"
MOST_TYPES = 50

# Upper bounds, in seconds or rows; beyond the last there is one more place.
LATENESS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0, 3600.0)
RUNS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
CLAIMS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
ROWS = (0.0, 1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0)


class Ended(StrEnum):
    """How a claim ended, as it is counted."""

    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    RETRY = "retry"
    LOST = "lost"
    POSTPONED = "postponed"
    RETURNED = "returned"
    DISCARDED = "discarded"


class Histogram:
    """How many values fell up to each bound, and their sum."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, values: Sequence[float]) -> None:
        counts, bounds = self._counts, self._bounds
        if len(values) < len(bounds):
            for value in values:
                counts[bisect_left(bounds, value)] += 1
        else:
            # Of many, once they are sorted, each bound is looked for and not each value.
            ordered, before = sorted(values), 0
            for place, bound in enumerate(bounds):
                upto = bisect_right(ordered, bound, before)
                counts[place] += upto - before
                before = upto
            counts[-1] += len(ordered) - before
        self._sum += sum(values)

    def told(self) -> Numbers:
        return [self._sum, *self._counts]


class _Series:
    """What is counted for one type."""

    __slots__ = ("ended", "late", "ran")

    def __init__(self) -> None:
        self.ended = dict.fromkeys(Ended, 0)
        self.late = Histogram(LATENESS)
        self.ran = Histogram(RUNS)

    def settled(self, ends: Sequence[Settlement]) -> None:
        others = [end for end in ends if end.status is not Status.COMPLETED]
        self.ended[Ended.COMPLETED] += len(ends) - len(others)
        for end in others:
            self.ended[how(end)] += 1
        runs = [(end.task.instant, end.started, end.ended) for end in ends if end.started and end.ended]
        self.late.observe([started - instant for instant, started, _ in runs])
        self.ran.observe([ended - started for _, started, ended in runs])

    def told(self) -> Numbers:
        return {
            "ended": [self.ended[how] for how in Ended],
            "late": self.late.told(),
            "ran": self.ran.told(),
        }


class Tally:
    """The counters of one process, which knows tasks of these types; all its threads share it."""

    def __init__(self, types: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._types = {OTHER: _Series()}
        self.know(types)
        self._claim_seconds = Histogram(CLAIMS)
        self._claim_rows = Histogram(ROWS)
        self._settle_rows = Histogram(ROWS)

    def know(self, types: Iterable[str]) -> None:
        """Count tasks of these types apart from now on."""
        with self._lock:
            for name in types:
                if len(self._types) <= MOST_TYPES:
                    self._types.setdefault(name, _Series())

    def settled(self, batch: Sequence[Settlement]) -> None:
        """These ends were written in one statement."""
        with self._lock:
            self._settle_rows.observe([len(batch)])
            for task_type, ends in groupby(batch, attrgetter("task.type")):
                (self._types.get(task_type) or self._types[OTHER]).settled(list(ends))

    def ended(self, task_type: str, how: Ended) -> None:
        """A task ended by other hands than those that ran it."""
        with self._lock:
            (self._types.get(task_type) or self._types[OTHER]).ended[how] += 1

    def claimed(self, batch: Batch, seconds: float) -> None:
        """A claim brought this and took so long."""
        with self._lock:
            self._claim_rows.observe([batch.size])
            self._claim_seconds.observe([seconds])
        for expired in batch.expired:
            self.ended(expired.type, Ended.EXPIRED)

    def told(self) -> Numbers:
        """All that was counted up to now."""
        with self._lock:
            return {
                "types": {name: series.told() for name, series in self._types.items()},
                "claim_seconds": self._claim_seconds.told(),
                "claim_rows": self._claim_rows.told(),
                "settle_rows": self._settle_rows.told(),
            }


def how(end: Settlement) -> Ended:
    """Name an end that was written by the process that ran the task."""
    match end.status:
        case Status.COMPLETED:
            return Ended.COMPLETED
        case Status.PENDING if end.attempted:
            return Ended.RETRY
        case Status.PENDING:
            return Ended.RETURNED if end.delay is None else Ended.POSTPONED
        case _:
            return Ended.FAILED if end.attempted else Ended.EXPIRED


def plus(one: Numbers, other: Numbers) -> Numbers:
    """The sum of what two processes told, which may know different types."""
    match one, other:
        case Mapping(), Mapping():
            return {
                **one,
                **other,
                **{name: plus(one[name], other[name]) for name in one.keys() & other.keys()},
            }
        case list(), list():
            return [plus(*pair) for pair in zip(one, other, strict=True)]
        case int() | float(), int() | float():
            return one + other
        case _:
            raise TypeError(f"{type(one).__name__} and {type(other).__name__} have no sum")
