"""Writes how tasks ended: all that ended since the last write in one statement."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from at_worker import log
from at_worker.engine.leases import Leases
from at_worker.engine.tally import Ended, Tally
from at_worker.outcome import Settlement, Status
from at_worker.store.errors import Refused
from at_worker.store.quarantine import in_halves
from at_worker.store.queue import Queue
from at_worker.store.settling import Leftover
from at_worker.task import Claim

logger = logging.getLogger(__name__)

LARGEST_BATCH = 1000
# Under load a write a few milliseconds later takes many results along, and costs no more than one of few.
PACE = 0.005
LOCKED_PAUSE = 0.2


class Settler:
    """Group commit: a write takes what is there, the first after a rest at once; load makes the batches.

    `released` hears that claims are out of hand. `rescheduled` hears of tasks that were given back, and at
    which monotonic instant that began: they are due their delay after that, or a moment later.
    """

    def __init__(self, queue: Queue, leases: Leases, tally: Tally) -> None:
        self._queue = queue
        self._leases = leases
        self._tally = tally
        # Appending to a deque and taking from it are atomic.
        self._waiting: deque[Settlement] = deque()
        # Ends whose write got no answer.
        self._doubted: set[Claim] = set()
        self._lock = threading.Lock()
        self._progress = threading.Condition(self._lock)
        self._unwritten = 0
        self.wake: Callable[[], None] = lambda: None
        self.released: Callable[[], None] = lambda: None
        self.rescheduled: Callable[[Sequence[Settlement], float], None] = lambda _ends, _began: None

    def put(self, settlement: Settlement) -> None:
        """Hand over an end; the caller was the one to end the lease."""
        with self._lock:
            self._unwritten += 1
        self._waiting.append(settlement)
        self.wake()

    def turn(self) -> float | None:
        """Write one batch. What somebody has locked waits for a later one and holds up nobody."""
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), LARGEST_BATCH))]
        if not batch:
            return None
        locked: list[Settlement] = []
        done = 0
        began = time.monotonic()
        try:
            for part, result in in_halves(batch, self._queue.settle):
                locked += self._conclude(part, self._settled(part, result), began)
                done += len(part)
        except BaseException:
            # Whatever it was: what ended is not forgotten. It may have been written all the same.
            self._doubted.update(end.claim for end in batch[done:])
            self._waiting.extendleft(reversed(batch[done:]))
            raise
        finally:
            self._waiting.extend(locked)
        return LOCKED_PAUSE if len(locked) == len(self._waiting) > 0 else 0 if self._waiting else None

    def wait_until_written(self, until: float) -> None:
        """Wait until the monotonic instant `until`; the tasks of results not written then will run again."""
        self.wake()
        with self._progress:
            written = self._progress.wait_for(lambda: not self._unwritten, max(0.0, until - time.monotonic()))
        if not written:
            logger.error(
                "%d results could not be written: their tasks will run again after the stuck timeout",
                self._unwritten,
            )

    def _conclude(self, part: Sequence[Settlement], leftover: Leftover, began: float) -> list[Settlement]:
        """Forget what needs no further write, whose statement began then; returns the rest."""
        locked = [end for end in part if end.claim in leftover.locked]
        if self._doubted:
            self._doubted.difference_update(end.claim for end in part if end.claim not in leftover.locked)
        self._leases.release(end.task for end in part if end.claim not in leftover.locked)
        with self._progress:
            self._unwritten -= len(part) - len(locked)
            self._progress.notify_all()
        self.released()
        for end in part if leftover.lost else ():
            if end.claim in leftover.lost:
                self._tell_lost(end)
        if again := [
            end for end in part if end.status is Status.PENDING and end.claim not in leftover.locked
        ]:
            self.rescheduled(again, began)
        return locked

    def _settled(self, part: Sequence[Settlement], result: Leftover | Refused) -> Leftover:
        return self._fail(part[0], result) if isinstance(result, Refused) else self._counted(part, result)

    def _counted(self, part: Sequence[Settlement], leftover: Leftover) -> Leftover:
        doubted = leftover.lost & self._doubted
        if doubted:
            # Most of them are lost to nobody: they were written, and the reply did not arrive.
            found = self._queue.written([end for end in part if end.claim in doubted])
            leftover = Leftover(leftover.locked, leftover.lost - found)
        left = leftover.locked | leftover.lost
        self._tally.settled([end for end in part if end.claim not in left] if left else part)
        return leftover

    def _fail(self, settlement: Settlement, refusal: Refused) -> Leftover:
        with log.about(settlement.task):
            return self._failed(settlement, refusal)

    def _failed(self, settlement: Settlement, refusal: Refused) -> Leftover:
        logger.error("PostgreSQL refuses the result of task %d: %s", settlement.claim.id, refusal)
        reason = f"the result could not be stored: {refusal}"
        failure = settlement._replace(
            status=Status.FAILED,
            attempted=True,
            delay=None,
            error=reason.encode("ascii", "replace").decode(),
            result=None,
        )
        try:
            return self._counted([failure], self._queue.settle([failure]))
        except Refused:
            logger.exception("PostgreSQL refuses any end of task %d", settlement.claim.id)
            return Leftover(frozenset(), frozenset())

    def _tell_lost(self, settlement: Settlement) -> None:
        self._tally.ended(settlement.task.type, Ended.DISCARDED)
        with log.about(settlement.task):
            logger.warning(
                "[Executor] Task %d was changed, given away or written already: its result is thrown away",
                settlement.claim.id,
            )
