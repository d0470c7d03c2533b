"""The real statements of several workers, a cleaner and people, interleaved at random beside the model.

After every step the table is what `tests.model.life` says. AT_MODEL_STEPS=50000 makes it a long walk,
by other ways each time.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace

import psycopg
import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from psycopg.rows import DictRow

from at_worker.engine.cleaner import BATCH, FIRST, give_back
from at_worker.outcome import Run, Settlement, Status, expire, hand_back, postpone, resolve
from at_worker.store.database import Database
from at_worker.store.lanes import Lane
from at_worker.store.queue import Batch, Queue
from at_worker.store.recovery import Recovery, Stuck
from at_worker.store.session import Session
from at_worker.store.settling import Leftover
from at_worker.task import Claim, Task
from tests.model import life, rows, steps
from tests.model.life import HOUR, Ending, Hour, NotStarted, Postponed, Ran, Row, TooLate
from tests.model.steps import Step
from tests.tables import Table

AT_MODEL_STEPS = os.environ.get("AT_MODEL_STEPS")
STEPS_PER_EXAMPLE = 50
# After ten examples Hypothesis goes on with copies of them that differ in a step or two.
EXAMPLES = 10
WALKS = -(-int(AT_MODEL_STEPS or 2500) // (EXAMPLES * STEPS_PER_EXAMPLE))
MOST_ROWS = 3
LOOK_AHEAD: Hour = 1
DELAYS = [rows.delay(hours).total_seconds() for hours in life.RETRY_DELAYS]
TYPES: tuple[list[str] | None, ...] = (None, None, ["a"])

RESCHEDULE = "UPDATE scheduled_tasks SET execute_at = now() + %(hours)s * interval '1 hour' WHERE id = %(id)s"
SET_STATUS = "UPDATE scheduled_tasks SET status = %(status)s WHERE id = %(id)s"
FORGET_CLAIM = """
UPDATE scheduled_tasks SET status = 'pending', claim_seq = claim_seq - 1, updated_at = now()
 WHERE id = %(id)s
"""
DELETE = "DELETE FROM scheduled_tasks WHERE id = %(id)s"
PAUSE = "SELECT at_pause(%(task_type)s) AS changed"
PAUSE_BY_HAND = """
INSERT INTO scheduled_tasks_paused (task_type) VALUES (%(task_type)s) ON CONFLICT DO NOTHING
RETURNING true AS changed
"""
RESUME = "SELECT at_resume(%(task_type)s) AS changed"
RESUME_BY_HAND = (
    "DELETE FROM scheduled_tasks_paused WHERE task_type = %(task_type)s RETURNING true AS changed"
)


@dataclass
class Worker:
    """One that believes in every claim it was ever told of until it has written its end."""

    queue: Queue
    recovery: Recovery
    types: list[str] | None
    hands: list[Task] = field(default_factory=list)

    def runs(self, row: Row) -> bool:
        return self.types is None or row.task_type in self.types


class Life(RuleBasedStateMachine):
    def __init__(self, table: Table, colleague: Table, database: Database) -> None:
        super().__init__()
        self.table = table
        self.colleague = colleague
        self.database = database
        table.sql("TRUNCATE scheduled_tasks, scheduled_tasks_paused RESTART IDENTITY")
        self.now: Hour = 0
        self.rows: dict[int, Row] = {}
        self.touched: set[int] = set()
        self.by_hand: set[int] = set()
        self.seen: dict[int, DictRow] = {}
        self.locked: set[int] = set()
        self.paused: set[str] = set()
        self.claims: set[tuple[Claim, str]] = set()
        self.holders: list[str] = []
        self.workers = [self._start(types) for types in TYPES]
        self.uncommitted: Row | None = None
        self.cleaning = ExitStack()
        self.stuck: tuple[Session, list[Stuck]] | None = None

    def teardown(self) -> None:
        self.cleaning.close()
        self.colleague.sql("ROLLBACK")

    @initialize(given=st.lists(steps.asked, min_size=2, max_size=MOST_ROWS))
    def start(self, given: list[Row]) -> None:
        for row in given:
            self.insert(row)

    # One rule for all: of several, Hypothesis leaves out half in a walk, and without claims or time nothing
    # happens.
    @rule(step=st.runner().flatmap(lambda walk: steps.one_of(walk.possible())))
    def happens(self, step: Step) -> None:
        name, arguments = step
        getattr(self, name)(**arguments)

    def possible(self) -> list[str]:
        """The kinds of steps that may come next."""
        held = any(worker.hands for worker in self.workers)
        statuses = {row.status for row in self.rows.values()}
        conditions: dict[str, object] = {
            "time_passes": not self.locked,
            "insert": len(self.rows) < MOST_ROWS,
            "claim": Status.PENDING in statuses,
            "claim_due": Status.PENDING in statuses,
            "settle": held,
            "beat": held,
            "hand_back_what_is_not_held": self._claimers(),
            "declare_dead": Status.PROCESSING in statuses,
            "forget_claim": self._free(_is_claimed),
            "resume": self.paused,
            "cleaner_looks": self.stuck is None and Status.PROCESSING in statuses,
            "cleaner_expires": Status.PENDING in statuses,
            "cleaner_deletes": statuses & life.FINISHED,
            "cleaner_gives_back": self.stuck is not None,
            "reschedule": self._free(),
            "set_status": self._free(),
            "delete": self._free(),
            # Where the key is unique, a second person would wait for the first.
            "begin_and_set_status": self.uncommitted is None and self._free(_has_no_key),
            "end_transaction": self.uncommitted is not None,
        }
        return [kind for kind in steps.KINDS if conditions.get(kind, True)]

    # Time.

    def time_passes(self, hours: Hour) -> None:
        rows.age(self.table, hours)
        self.now += hours
        for worker in self.workers:
            worker.hands = [rows.aged(task, hours) for task in worker.hands]
        self.seen = rows.look(self.table)

    # Producers.

    def insert(self, given: Row) -> None:
        shift = {
            name: value + self.now
            for name in ("execute_at", "updated_at", "expires_at", "completed_at")
            if (value := getattr(given, name)) is not None
        }
        row = replace(given, **shift)
        inserted = rows.insert(self.table, row, self.now)
        taken = life.is_key_taken(row, self.rows.values())
        assert (inserted is None) == taken
        if inserted:
            self.rows[inserted.id] = inserted

    # Workers.

    def claim(self, worker: int, turn: int, room: int, ahead: int, reply_lost: bool) -> None:
        by = self.workers[worker]
        hour = LOOK_AHEAD if ahead else 0
        batch = by.queue.claim(room, turn, ahead=ahead, look_ahead=hour * HOUR)
        candidates = [
            row for row in self._free(by.runs) if life.is_claimable(row, self.now + hour, self.paused)
        ]
        due = sum(life.is_due(row, self.now) for row in candidates)
        self._take(by, batch, candidates, min(room, due + min(ahead, len(candidates) - due)), reply_lost)

    def claim_due(
        self, worker: int, task_type: str, priority: int, since: Hour, room: int, reply_lost: bool
    ) -> None:
        by = self.workers[worker]
        # Half an hour more, for rows of that very hour and the seconds that this walk takes.
        batch = by.queue.claim_due(Lane(task_type, priority), time.time() + (since - 0.5) * HOUR, room)
        candidates = [
            row
            for row in self._free()
            if life.is_claimable(row, self.now, self.paused)
            and (row.task_type, row.priority) == (task_type, priority)
            and row.execute_at >= self.now + since
        ]
        self._take(by, batch, candidates, min(room, len(candidates)), reply_lost)

    def _take(self, by: Worker, batch: Batch, candidates: list[Row], count: int, reply_lost: bool) -> None:
        ids = [*(task.id for task in batch.tasks), *(row.id for row in batch.expired)]
        taken = [self.rows[task_id] for task_id in ids]
        left = [row for row in candidates if row not in taken]
        assert len(taken) == len({row.id for row in taken}) == len(candidates) - len(left) == count
        assert not any(life.goes_first(row, other, self.now) for row in left for other in taken)
        for row in taken:
            self._write(life.claimed(row, self.now, by.queue.holder))
        for task in batch.tasks:
            assert (task.claim, by.queue.holder) not in self.claims
            assert life.is_live(task.claim, by.queue.holder, self.rows[task.id])
            assert task.attempt == self.rows[task.id].attempts + 1
        assert all(self.rows[row.id].status is Status.FAILED for row in batch.expired)
        self.claims |= {(task.claim, by.queue.holder) for task in batch.tasks}
        known = {task.claim: task.attempt for task in by.hands}
        # What the database forgot and gave out again is the same attempt, and the worker goes on with it.
        assert all(known.get(task.claim, task.attempt) == task.attempt for task in batch.tasks)
        if not reply_lost:
            by.hands += [task for task in batch.tasks if task.claim not in known]

    def hand_back_what_is_not_held(self, worker: int) -> None:
        claimers = self._claimers()
        by = claimers[worker % len(claimers)]
        unheld = [
            row
            for row in self._free()
            if row.status is Status.PROCESSING
            and row.locked_by == by.queue.holder
            and Claim(row.id, row.claim_seq) not in {task.claim for task in by.hands}
        ]
        handed_back = by.queue.hand_back_unheld([task.claim for task in by.hands])
        assert set(handed_back) == {row.id for row in unheld}
        for row in unheld:
            self._write(life.ended(row, self.now, NotStarted(), Ran(0, 0)))

    def settle(self, worker: int, ends: list[tuple[int, Ending]], ran: Ran, reply_lost: bool) -> None:
        by = self._holder(worker)
        batch = {by.hands[nth % len(by.hands)]: ending for nth, ending in ends}
        leftover = by.queue.settle([_settlement(task, ending, ran) for task, ending in batch.items()])
        written = self._check(by, leftover, [task.claim for task in batch])
        for task, ending in batch.items():
            if task.claim in written:
                then = Ran(self.now + ran.started, self.now + ran.ended)
                self._write(life.ended(self.rows[task.id], self.now, ending, then))
        if not reply_lost:
            by.hands = [task for task in by.hands if task not in batch or task.claim in leftover.locked]

    def beat(self, worker: int) -> None:
        by = self._holder(worker)
        claims = [task.claim for task in by.hands]
        for claim in self._check(by, by.queue.beat(claims), claims):
            self._write(life.beaten(self.rows[claim.id], self.now))

    def kill(self, worker: int) -> None:
        self.workers[worker] = self._start(TYPES[worker])

    def forget_claim(self, row: int, claimed_again: bool, reply_lost: bool) -> None:
        claimed = self._free(_is_claimed)
        chosen = claimed[row % len(claimed)]
        self.table.sql(FORGET_CLAIM, id=chosen.id)
        self.claims.discard((Claim(chosen.id, chosen.claim_seq), str(chosen.locked_by)))
        self._write(life.forgotten(chosen, self.now))
        for nth, by in enumerate(self.workers):
            if claimed_again and by.queue.holder == chosen.locked_by:
                self.claim(nth, turn=0, room=MOST_ROWS, ahead=1, reply_lost=reply_lost)

    # Who looks after the dead.

    def declare_dead(self, holder: int) -> None:
        """Give back what a worker held; it may live all the same."""
        name = self.holders[holder % len(self.holders)]
        held = [row for row in self._free() if row.status is Status.PROCESSING and row.locked_by == name]
        with self.workers[0].recovery.held_by(name, BATCH) as (session, found):
            assert [lost.task.id for lost in found] == [row.id for row in held]
            self._give_back(session, found)

    def cleaner_looks(self, worker: int) -> None:
        by = self.workers[worker]
        stuck = {row.id for row in self._free(by.runs) if life.is_stuck(row, self.now)}
        self.stuck = self.cleaning.enter_context(by.recovery.stuck(FIRST, BATCH))
        assert {lost.task.id for lost in self.stuck[1]} == stuck
        self.locked |= stuck

    def cleaner_gives_back(self) -> None:
        assert self.stuck is not None
        session, stuck = self.stuck
        self._give_back(session, stuck)
        self.cleaning.close()
        self.locked -= {lost.task.id for lost in stuck}
        self.stuck = None

    def cleaner_expires(self, worker: int) -> None:
        by = self.workers[worker]
        late = [
            row
            for row in self._free(by.runs)
            if row.status is Status.PENDING and life.is_expired(row, self.now)
        ]
        assert {row.id for row in by.recovery.expire(BATCH)} == {row.id for row in late}
        for row in late:
            self._write(life.expired(row, self.now))

    def cleaner_deletes(self, worker: int) -> None:
        by = self.workers[worker]
        old = [row for row in self._free(by.runs) if life.is_old(row, self.now)]
        _, deleted = by.recovery.delete_old(life.RETENTION * HOUR, FIRST, BATCH)
        assert deleted == len(old)
        for row in old:
            del self.rows[row.id]

    # People.

    def reschedule(self, row: int, hours: Hour) -> None:
        chosen = self._choose(row)
        self.table.sql(RESCHEDULE, id=chosen.id, hours=hours)
        self._write_by_hand(life.rescheduled(chosen, self.now, self.now + hours))

    def set_status(self, row: int, status: Status) -> None:
        chosen = self._choose(row)
        changed = life.given_status(chosen, self.now, status)
        if life.is_key_taken(changed, self.rows.values()):
            with pytest.raises(psycopg.errors.UniqueViolation):
                self.table.sql(SET_STATUS, id=chosen.id, status=status)
        else:
            self.table.sql(SET_STATUS, id=chosen.id, status=status)
            self._write_by_hand(changed)

    def pause(self, task_type: str, by_hand: bool) -> None:
        changed = self.table.sql(PAUSE_BY_HAND if by_hand else PAUSE, task_type=task_type)
        assert _is_true(changed) == (task_type not in self.paused)
        self.paused.add(task_type)

    def resume(self, task_type: str, by_hand: bool) -> None:
        changed = self.table.sql(RESUME_BY_HAND if by_hand else RESUME, task_type=task_type)
        assert _is_true(changed) == (task_type in self.paused)
        self.paused.discard(task_type)

    def delete(self, row: int) -> None:
        chosen = self._choose(row)
        self.table.sql(DELETE, id=chosen.id)
        del self.rows[chosen.id]

    def begin_and_set_status(self, row: int, status: Status) -> None:
        keyless = self._free(_has_no_key)
        chosen = keyless[row % len(keyless)]
        self.colleague.sql("BEGIN")
        self.colleague.sql(SET_STATUS, id=chosen.id, status=status)
        self.uncommitted = life.given_status(chosen, self.now, status)
        self.locked.add(chosen.id)

    def end_transaction(self, commit: bool) -> None:
        assert self.uncommitted is not None
        self.colleague.sql("COMMIT" if commit else "ROLLBACK")
        self.locked.discard(self.uncommitted.id)
        if commit:
            self._write_by_hand(self.uncommitted)
        self.uncommitted = None

    # What holds after every step.

    @invariant()
    def the_table_is_as_the_model_says(self) -> None:
        before, self.seen = self.seen, rows.look(self.table)
        assert {task_id: rows.read(seen, self.now) for task_id, seen in self.seen.items()} == self.rows
        for task_id, was in before.items():
            row = self.seen.get(task_id)
            unchanged = row is None or {**row, "now": was["now"]} == was
            assert unchanged or task_id in self.touched | self.by_hand
            assert unchanged or was["status"] not in life.FINISHED or task_id in self.by_hand
        self.touched, self.by_hand = set(), set()

    @invariant()
    def completed_at_is_set_when_and_only_when_completed(self) -> None:
        assert all(
            (row["completed_at"] is None) == (row["status"] != "completed") for row in self.seen.values()
        )

    def _start(self, types: list[str] | None) -> Worker:
        self.holders.append(f"w/boot-{len(self.holders)}")
        # Rows age unannounced, so every claim surveys all lanes.
        queue = Queue(self.database, self.holders[-1], types, survey_interval=0)
        return Worker(queue, Recovery(self.database, life.STUCK_TIMEOUT * HOUR, types), types)

    def _holder(self, nth: int) -> Worker:
        """One of the workers that hold claims."""
        holders = [worker for worker in self.workers if worker.hands]
        return holders[nth % len(holders)]

    def _claimers(self) -> list[Worker]:
        """Those whose names stand in claimed rows."""
        names = {row.locked_by for row in self.rows.values() if row.status is Status.PROCESSING}
        return [worker for worker in self.workers if worker.queue.holder in names]

    def _free(self, which: Callable[[Row], bool] = lambda _: True) -> list[Row]:
        """The rows that nobody has locked."""
        return [row for row in self.rows.values() if row.id not in self.locked and which(row)]

    def _choose(self, nth: int) -> Row:
        free = self._free()
        return free[nth % len(free)]

    def _write(self, row: Row) -> None:
        self.rows[row.id] = row
        self.touched.add(row.id)

    def _write_by_hand(self, row: Row) -> None:
        self.rows[row.id] = row
        self.by_hand.add(row.id)

    def _check(self, by: Worker, leftover: Leftover, claims: Iterable[Claim]) -> list[Claim]:
        """Check what a statement says of the claims that it did not touch, and return the others."""
        live = [claim for claim in claims if life.is_live(claim, by.queue.holder, self.rows.get(claim.id))]
        assert leftover.lost == frozenset(claims) - frozenset(live)
        assert leftover.locked == {claim for claim in live if claim.id in self.locked}
        return [claim for claim in live if claim.id not in self.locked]

    def _give_back(self, session: Session, stuck: list[Stuck]) -> None:
        reason = "lost: it gave no heartbeat"
        give_back(session, stuck, lambda _: reason, DELAYS)
        for lost in stuck:
            self._write(life.lost(self.rows[lost.task.id], self.now, reason))


def _is_true(changed: list[DictRow]) -> bool:
    return any(row["changed"] for row in changed)


def _has_no_key(row: Row) -> bool:
    return row.dedupe_key is None


def _is_claimed(row: Row) -> bool:
    return row.status is Status.PROCESSING and row.claim_seq > 0


def _settlement(task: Task, ending: Ending, ran: Ran) -> Settlement:
    match ending:
        case NotStarted():
            return hand_back(task)
        case TooLate():
            return expire(task)
        case Postponed(wait):
            return postpone(task, wait * HOUR, "full", now=time.monotonic())
        case _:
            now = time.monotonic()
            run = Run(now + ran.started * HOUR, now + ran.ended * HOUR)
            return resolve(task, ending, now=now, run=run, default_delays=DELAYS)


@pytest.fixture
def dsn(emptied_dsn: str) -> str:
    """The same database, where nobody waits long for a lock: here that would be for ever."""
    return f"{emptied_dsn}?options=-clock_timeout%3D2s"


@pytest.fixture
def colleague(dsn: str) -> Iterator[Table]:
    with closing(Table(dsn)) as opened:
        yield opened


@pytest.fixture
def database(table: Table) -> Iterator[Database]:
    opened = Database(table.settings())
    opened.open()
    yield opened
    opened.close()


# Making a failing walk shorter takes its time.
@pytest.mark.timeout(400)
@pytest.mark.parametrize("walk", range(WALKS))
def test_whatever_happens_the_table_is_as_the_model_says(
    walk: int, table: Table, colleague: Table, database: Database
) -> None:
    class Here(Life):
        def __init__(self) -> None:
            super().__init__(table, colleague, database)

    run_state_machine_as_test(
        seed(walk)(Here) if AT_MODEL_STEPS is None else Here,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS_PER_EXAMPLE,
            # A long walk has no seed.
            derandomize=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
