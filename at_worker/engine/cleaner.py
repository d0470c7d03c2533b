"""Looks after rows that nobody looks after: lost with their worker, expired, too old to keep."""

import logging
import time
from collections.abc import Callable, Sequence

from at_worker import log
from at_worker.engine.tally import Ended, Tally
from at_worker.outcome import Settlement, Status, resolve_lost
from at_worker.store.errors import Refused
from at_worker.store.quarantine import in_halves
from at_worker.store.recovery import Recovery, Stuck
from at_worker.store.session import Session
from at_worker.store.settling import Leftover, settle
from at_worker.task import Claim

logger = logging.getLogger(__name__)

BATCH = 500
# How long one turn may spend on deleting; the next goes on where it ended.
DELETING = 10.0
MARGIN = 0.1
# A worker that was cut off, by an outage or by a person's lock on the row, gets so long to beat again: only
# what is stuck at two looks is lost.
CATCH_UP = 2.0
FIRST = -(2**63)


class Cleaner:
    """One turn restores, fails, expires and deletes; every worker has one, and locked rows are skipped.

    `restored` is called where tasks were given back, which are due at once.
    """

    def __init__(
        self,
        recovery: Recovery,
        tally: Tally,
        *,
        interval: float,
        stuck_timeout: float,
        retention: float | None,
        default_delays: Sequence[float],
    ) -> None:
        self._recovery = recovery
        self._tally = tally
        self._longest_pause = min(interval, stuck_timeout)
        self._retention = retention
        self._default_delays = default_delays
        self._deleted_up_to = 0
        # Claims without a heartbeat, and since when they are known.
        self._suspects: dict[Claim, float] = {}
        self.restored: Callable[[], None] = lambda: None

    def turn(self) -> float:
        """Do all there is to do; the next turn comes by interval, or when the oldest heartbeat runs out."""
        return self.look(time.monotonic())

    def look(self, now: float) -> float:
        """The same at a given monotonic instant."""
        restored, failed = self._restore(now)
        expired = self._expire()
        deleted = 0 if self._retention is None else self._delete(self._retention)
        logger.info(
            "[Cleaner] Restored %d, failed %d, expired %d, deleted %d tasks",
            restored,
            failed,
            expired,
            deleted,
        )
        if restored:
            self.restored()
        next_stuck = self._recovery.next_stuck()
        if next_stuck is None:
            return self._longest_pause
        return min(max(next_stuck + MARGIN, CATCH_UP), self._longest_pause)

    def _restore(self, now: float) -> tuple[int, int]:
        counts = {Status.PENDING: 0, Status.FAILED: 0}
        suspects: dict[Claim, float] = {}
        after, more = FIRST, True
        while more:
            with self._recovery.stuck(after, BATCH) as (session, stuck):
                for found in stuck:
                    suspects[found.task.claim] = self._suspects.get(found.task.claim, now)
                dead = [found for found in stuck if now - suspects[found.task.claim] >= CATCH_UP]
                ends = give_back(session, dead, _reason, self._default_delays)
            for settlement in ends:
                counts[settlement.status] += 1
                tell(settlement, self._tally)
            more = len(stuck) == BATCH
            after = stuck[-1].task.id if stuck else after
        self._suspects = suspects
        return counts[Status.PENDING], counts[Status.FAILED]

    def _expire(self) -> int:
        count = 0
        while True:
            rows = self._recovery.expire(BATCH)
            for expired in rows:
                self._tally.ended(expired.type, Ended.EXPIRED)
                with log.about(expired):
                    logger.warning("[Cleaner] Marked task %d as failed: it expired", expired.id)
            count += len(rows)
            if len(rows) < BATCH:
                return count

    def _delete(self, retention: float) -> int:
        count = 0
        until = time.monotonic() + DELETING
        while time.monotonic() < until:
            last, deleted = self._recovery.delete_old(retention, self._deleted_up_to, BATCH)
            count += deleted
            self._deleted_up_to = last or 0
            if last is None:
                break
        return count


def give_back(
    session: Session, lost: Sequence[Stuck], reason: Callable[[Stuck], str], default_delays: Sequence[float]
) -> list[Settlement]:
    """Settle the lost attempts of dead workers, in the transaction that holds their rows locked."""
    ends = [
        resolve_lost(
            found.task,
            reason(found),
            again=found.lost_before,
            now=time.monotonic(),
            default_delays=default_delays,
        )
        for found in lost
    ]
    return _settled(session, ends)


def _settled(session: Session, ends: list[Settlement]) -> list[Settlement]:
    """Write the ends of tasks, those that PostgreSQL does not refuse; return what was written."""

    def write(part: Sequence[Settlement]) -> Leftover:
        with session.savepoint():
            return settle(session, part, None)

    written: list[Settlement] = []
    for part, result in in_halves(ends, write):
        if isinstance(result, Refused):
            with log.about(part[0].task):
                logger.error("[Cleaner] PostgreSQL refuses any end of task %d: %s", part[0].claim.id, result)
        else:
            written += part
    return written


def _reason(found: Stuck) -> str:
    holder = f"worker {found.locked_by}" if found.locked_by else "an unknown worker"
    return f"lost: {holder} gave no heartbeat for {found.silence:.0f} s, may have run"


def tell(settlement: Settlement, tally: Tally) -> None:
    """Log and count what became of a lost task."""
    tally.ended(settlement.task.type, Ended.LOST)
    with log.about(settlement.task):
        if settlement.status is Status.PENDING:
            logger.warning("[Cleaner] Restored stuck task %d (%s)", settlement.claim.id, settlement.error)
        else:
            logger.warning("[Cleaner] Marked task %d as failed (%s)", settlement.claim.id, settlement.error)
