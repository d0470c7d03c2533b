"""The rules: what must be true of rows, changes, deliveries and faults, whatever happened."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from tests.chaos.audit import Change, Row
from tests.chaos.claims import FINISHED, ClaimLife, TaskLife, lives
from tests.chaos.faults import Fault
from tests.chaos.ledger import Delivery

# A thread that had begun when its worker froze may send as soon as that wakes up; nothing else may.
WAKING = 1.0
# A claim may be committed asynchronously: a database that crashes forgets those of its last moments, which
# are 0.6 s at most. What they brought to the worker starts up to 1.3 s after them.
UNSAVED = 1.0
UNAWARE = 2.0


@dataclass(frozen=True, slots=True)
class Record:
    """All that is known at the end of an experiment; `failing` are the tasks that were to end as failed.

    `crashes` are the instants at which the database crashed.
    """

    rows: Sequence[Row]
    changes: Sequence[Change]
    deliveries: Sequence[Delivery]
    faults: Sequence[Fault] = ()
    failing: Collection[int] = ()
    crashes: Sequence[float] = ()


def violations(record: Record) -> list[str]:
    """What should not have been; empty where every promise was kept."""
    rows = {row.task: row for row in record.rows}
    deliveries: defaultdict[int, list[Delivery]] = defaultdict(list)
    for delivery in record.deliveries:
        deliveries[delivery.task].append(delivery)
    found: list[str] = []
    for task, life in lives(record.changes).items():
        found += life.illegal
        row = rows.pop(task, None)
        if row is None:
            found.append(f"task {task} is gone")
            continue
        of_task = deliveries.pop(task, [])
        case = _Case(row, life, of_task, record.faults, task in record.failing, record.crashes)
        found += (f"task {task} {what}" for what in case.violations())
    found += (f"task {task} was never inserted" for task in rows)
    found += (f"task {task} was delivered and is not known" for task in deliveries)
    return found


@dataclass(frozen=True, slots=True)
class _Case:
    row: Row
    life: TaskLife
    deliveries: list[Delivery]
    faults: Sequence[Fault]
    failing: bool
    crashes: Sequence[float]

    def violations(self) -> Iterator[str]:
        yield from self._end()
        yield from self._attempts()
        yield from self._claims()
        yield from self._repetitions()
        yield from self._overlaps()

    def _end(self) -> Iterator[str]:
        status = self.row.state.status
        if status not in FINISHED:
            yield f"did not end: it is {status}"
        elif status != ("failed" if self.failing else "completed"):
            yield f"ended as {status}: {self._last_error()}"
        if status == "completed" and self.life.claims:
            last = self.life.claims[-1]
            answers = [d for d in self.deliveries if d.attempt == last.attempt and d.accepted]
            if not answers:
                yield "is completed, but nobody accepted its last attempt"
            elif all(last.until < answer.end for answer in answers):
                yield f"was completed before its last attempt was accepted, held by {last.boot_id}"

    def _attempts(self) -> Iterator[str]:
        counted = [claim.attempt for claim in self.life.claims if claim.counted]
        made = self.life.attempts + len(counted)
        if self.row.state.attempts != made:
            yield f"has {self.row.state.attempts} attempts, but {made} were made"
        for delivery in self.deliveries:
            if delivery.attempt not in counted:
                yield f"was delivered in attempt {delivery.attempt}, which was not counted"
            if delivery.uid != self.row.uid:
                yield f"was delivered as {delivery.uid}, but it is {self.row.uid}"

    def _claims(self) -> Iterator[str]:
        """No attempt ends otherwise than its receiver said, unless a fault came between."""
        for claim in self.life.claims:
            if not claim.counted or claim.status == "completed" or self._touching(claim):
                continue
            answers = [d for d in self._remembered() if d.attempt == claim.attempt]
            if claim.forced:
                yield f"was taken from {claim.boot_id}, which no fault had hit: {claim.error}"
            elif any(d.accepted for d in answers):
                yield f"was accepted, but attempt {claim.attempt} counts as failed: {claim.error}"
            elif not answers and not self.failing:
                yield f"failed before it was delivered, without a fault: {claim.error}"

    def _repetitions(self) -> Iterator[str]:
        """An attempt is delivered once, and by a worker that owns the task or has just woken up."""
        seen: set[int] = set()
        for delivery in self._remembered():
            if delivery.attempt in seen:
                yield f"was delivered twice in attempt {delivery.attempt}"
            seen.add(delivery.attempt)
            if (claim := self._claim_of(delivery)) and delivery.start > claim.until:
                woken = [fault.until + WAKING for fault in self._touching(claim)]
                if delivery.start > max(woken, default=0.0):
                    yield f"was started by {claim.boot_id}, which did not own it any more"

    def _overlaps(self) -> Iterator[str]:
        """Two at a time only where the first worker was not able to know."""
        for first, second in combinations(sorted(self._remembered(), key=lambda d: d.attempt), 2):
            if second.start < first.end and first.start < second.end:
                claim = self._claim_of(first)
                if claim is None or not self._touching(claim):
                    yield f"ran twice at one time, in attempts {first.attempt} and {second.attempt}"

    def _claim_of(self, delivery: Delivery) -> ClaimLife | None:
        of_attempt = (c for c in self.life.claims if c.counted and c.attempt == delivery.attempt)
        return next(of_attempt, None)

    def _remembered(self) -> list[Delivery]:
        """Without those whose claim the database forgot in a crash: one of each attempt in flight."""
        deliveries = sorted(self.deliveries, key=lambda d: d.start)
        for crash in self.crashes:
            first = {d.attempt: d for d in reversed(deliveries) if self._is_forgotten(d, crash)}
            for forgotten in first.values():
                deliveries.remove(forgotten)
        return deliveries

    def _is_forgotten(self, delivery: Delivery, crash: float) -> bool:
        claim = self._claim_of(delivery)
        in_flight = crash - UNSAVED <= delivery.start <= crash + UNAWARE
        return in_flight and claim is not None and crash < claim.since and delivery.start < claim.since

    def _touching(self, claim: ClaimLife) -> list[Fault]:
        return [fault for fault in self.faults if fault.touches(claim.boot_id, claim.since, claim.until)]

    def _last_error(self) -> str | None:
        return self.life.claims[-1].error if self.life.claims else None
