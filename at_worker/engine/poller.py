"""Claims what is due, as much as can start, and sleeps until there is more."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from at_worker import log
from at_worker.engine.leases import Leases
from at_worker.engine.plan import Announcement, Plan
from at_worker.engine.runner import Runner
from at_worker.outcome import Settlement
from at_worker.store.errors import Unavailable
from at_worker.store.lanes import Lane
from at_worker.store.queue import Batch, Queue
from at_worker.task import Task
from at_worker.text import one_line

logger = logging.getLogger(__name__)

ANNOUNCE = 1.0
# Long enough for a claim to arrive in time, short enough that what people change in it hardly matters.
LOOK_AHEAD = 0.25
# Of rows that follow each other closely a claim takes all that come near in the difference.
NEAR = 0.15
# With room for it, a row that is so near waits for no more of its kind.
URGENT = 0.03
# By then a short task that has started has ended.
SHORT = 0.002
# Where there may be more than can be held, and nobody knows how near.
CROWDED_PAUSE = 0.01
# While threads are what is scarce, claims come so far apart that each takes several rows; those threads that
# run short tasks have been given work for longer (see Runner.room).
PACE = 0.005
MOST_UNWRITTEN = 1000
# A claim that got no answer may still be on the way, or wait for a stalled disk or standby to commit: for so
# many seconds its worker looks for what it brought, as often as this.
DOUBT = 60.0
LOOK_AGAIN = 1.0


class Poller:
    """One turn is one claim: of what is due, and into what room is left of what will be due in a moment.

    Sleeps until the next row comes near, a thread is free for one that is due, or the interval is over. Rows
    that are announced as due meanwhile, while threads are idle, are claimed from their lane alone, in half
    the time. `claimed` hears what a claim brought and how many seconds it took.
    """

    def __init__(
        self,
        queue: Queue,
        leases: Leases,
        runner: Runner,
        *,
        batch_size: int,
        interval: float,
        worker_id: str,
    ) -> None:
        self._queue = queue
        self._leases = leases
        self._runner = runner
        self._batch_size = batch_size
        self._interval = interval
        self._worker_id = worker_id
        # While results cannot be written, claiming ends before memory does.
        self._most_held = runner.concurrency + max(MOST_UNWRITTEN, 4 * batch_size)
        self._turns = 0
        self._hungry = False
        self._paced = 0.0
        self.plan = Plan()
        self._doubt_until = 0.0
        self._look_at = float("inf")
        self._found = 0
        self._announced = 0.0
        self.claimed: Callable[[Batch, float], None] = lambda _batch, _seconds: None
        self.claiming_since: float | None = None
        self.failure: str | None = None

    def room_freed(self) -> None:
        """A thread is idle again, or results are written; that matters only while rows wait for it."""
        if self._hungry and self.plan.instant > self._paced:
            self.plan.claim_by(self._paced)

    def heard(self, announcements: Sequence[Announcement]) -> None:
        """Rows became pending; nothing announced: look for what was missed."""
        if not announcements:
            self.restored()
        ours = [each for each in announcements if self._queue.announced(each.lane, each.execute_at)]
        if ours:
            first = min(ours, key=lambda each: each.execute_at)
            if self._hungry or not all(each.is_due and each.lane == first.lane for each in ours):
                self.plan.claim_by(self._queue.monotonic(first.execute_at) - NEAR)
            else:
                self.plan.claim_lane(first)

    def given_back(self, ends: Sequence[Settlement], began: float) -> None:
        """The claims of these ended so that they become pending, by a statement of this monotonic instant."""
        delays = [end.delay or 0.0 for end in ends]
        if not all(delays):
            # Some are due again since when they were first.
            self.restored()
            return
        for end, delay in zip(ends, delays, strict=True):
            self._queue.rescheduled(Lane(end.task.type, end.task.priority), began + delay)
        self.plan.claim_by(began + min(delays) - NEAR)

    def restored(self) -> None:
        """Rows became pending that may have been due for long."""
        self._queue.forget_lanes()
        self.plan.claim_by(0.0)

    def turn(self) -> float:
        """Claim once, if it is time to. Returns the seconds until the next claim is worth it."""
        # Taken first: what is heard during the claim may have come too late for it.
        scope = self.plan.take()
        if scope is not None:
            pause = 0.0
            try:
                # Where rows are known to wait, those that are announced may have to wait behind them.
                if isinstance(scope, Announcement) and not self._hungry:
                    pause = self._turn_of_lane(scope)
                else:
                    pause = self._turn()
            finally:
                self.plan.resume(pause)
        return self.plan.wait

    def _turn(self) -> float:
        # Set first: a thread that frees itself between the look at the room and the sleep wakes us.
        self._hungry = True
        if time.monotonic() >= self._look_at:
            self._hand_back_unheld()
        startable = self._startable
        room = min(self._batch_size, startable)
        self._paced = 0.0 if room == self._batch_size else time.monotonic() + PACE
        if room <= 0:
            return self._announce(self._interval)
        # Threads that are freed during this claim plan none: if it leaves rows waiting, one follows anyway.
        self._hungry = False
        ahead = max(0, min(room, startable - self._runner.held))
        self._turns += 1
        batch, took = self._timed(
            lambda: self._queue.claim(room, self._turns, ahead=ahead, look_ahead=LOOK_AHEAD if ahead else 0.0)
        )
        tasks = self._taken(batch)
        soon = [task for task in tasks if task.due == task.instant]
        if len(soon) < len(tasks):
            self._runner.start(*(task for task in tasks if task.due > task.instant))
        if soon:
            self._runner.hold(soon)
        self._tell(batch, took)
        self._hungry = batch.more and batch.size == room
        return self._announce(self._pause(batch))

    def _pause(self, batch: Batch) -> float:
        """Seconds until the next claim is worth it."""
        if self._hungry:
            return max(0.0, self._paced - time.monotonic())
        if batch.more:
            return CROWDED_PAUSE
        if batch.next_due is None:
            return self._interval
        if batch.next_due > NEAR:
            return min(self._interval, batch.next_due - NEAR)
        # One that is near waits for more of its kind, until a full batch can be held, or half of the most.
        startable = self._startable
        room = startable - self._runner.held
        wanted = min(self._batch_size, max(1, startable // 2))
        if room >= wanted:
            return 0.0
        freed = self._runner.lets_go(wanted - room) + SHORT - time.monotonic()
        latest = batch.next_due - URGENT if room > 0 else batch.next_due
        return min(batch.next_due, max(PACE, min(freed, latest)))

    def _turn_of_lane(self, due: Announcement) -> float:
        room = min(self._batch_size, self._startable)
        if room <= 0:
            return 0.0
        batch, took = self._timed(lambda: self._queue.claim_due(due.lane, due.execute_at, room))
        self._runner.start(*self._taken(batch))
        self._tell(batch, took)
        return self._announce(0.0 if batch.more else float("inf"))

    @property
    def _startable(self) -> int:
        return min(self._runner.room, self._most_held - self._leases.count)

    def _timed(self, claim: Callable[[], Batch]) -> tuple[Batch, float]:
        """What a claim brought, and how many seconds it took."""
        asked = time.monotonic()
        with self._asking():
            batch = claim()
        return batch, time.monotonic() - asked

    def _taken(self, batch: Batch) -> list[Task]:
        """Those of its tasks that nobody here holds already."""
        tasks = [task for task in batch.tasks if self._leases.take(task)]
        if len(tasks) < len(batch.tasks):
            # The database crashed. One of them may have counted as lost in this very moment.
            self._doubt()
        return tasks

    def _tell(self, batch: Batch, took: float) -> None:
        self._found += len(batch.tasks)
        self.claimed(batch, took)
        for expired in batch.expired:
            with log.about(expired):
                logger.warning(
                    "[Worker %s] Task %d expired before it could start", self._worker_id, expired.id
                )

    def _hand_back_unheld(self) -> None:
        with self._asking():
            ids = self._queue.hand_back_unheld(self._leases.claims())
        now = time.monotonic()
        self._look_at = now + LOOK_AGAIN if now < self._doubt_until else float("inf")
        if ids:
            logger.warning(
                "[Worker %s] Handed %d tasks back: the reply to their claim was lost",
                self._worker_id,
                len(ids),
            )

    @contextmanager
    def _asking(self) -> Iterator[None]:
        self.claiming_since = time.monotonic()
        try:
            yield
        except Exception as error:
            if isinstance(error, Unavailable):
                # The statement may have been carried out all the same, or will be.
                self._doubt()
            self.failure = one_line(error)
            raise
        else:
            self.failure = None
        finally:
            self.claiming_since = None

    def _doubt(self) -> None:
        """Look for claims that nobody here knows of, from now on for a while."""
        self._doubt_until = time.monotonic() + DOUBT
        self._look_at = 0.0

    def _announce(self, pause: float) -> float:
        """Say how many tasks were found, at most once a second; returns the pause, cut to the next line."""
        if not self._found:
            return pause
        wait = self._announced + ANNOUNCE - time.monotonic()
        if wait > 0:
            return min(pause, wait)
        logger.info("[Worker %s] Found %d tasks to process", self._worker_id, self._found)
        self._found = 0
        self._announced = time.monotonic()
        return pause
