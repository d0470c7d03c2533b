"""Claims what is due, as much as can start, and sleeps until there is more."""

import logging
import time
from collections.abc import Callable

from at_worker.engine.leases import Leases
from at_worker.engine.runner import Runner
from at_worker.store.database import Unavailable
from at_worker.store.queue import Batch, Queue

logger = logging.getLogger(__name__)

ANNOUNCE = 1.0


class Poller:
    """One turn is one claim. Sleeps until the next row is due, a thread is free, or the interval is over."""

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
        self._turns = 0
        self._hungry = False
        self._reply_lost = False
        self._found = 0
        self._announced = 0.0
        self.wake: Callable[[], None] = lambda: None
        self.claiming_since: float | None = None

    def thread_freed(self) -> None:
        """A thread is idle again; that matters only while rows are waiting for one."""
        if self._hungry:
            self.wake()

    def turn(self) -> float:
        """Claim once. Returns the seconds until the next claim is worth it."""
        # Set first: a thread that frees itself between the look at the room and the sleep wakes us.
        self._hungry = True
        room = min(self._batch_size, self._runner.idle)
        if room == 0:
            return self._announce(self._interval)
        batch = self._claim(room)
        self._leases.take(task.claim for task in batch.tasks)
        for task in batch.tasks:
            self._runner.start(task)
        for task_id in batch.expired:
            logger.warning("[Worker %s] Task %d expired before it could start", self._worker_id, task_id)
        self._found += len(batch.tasks)
        self._hungry = batch.size == room
        if self._hungry:
            return self._announce(0.0)
        return self._announce(min(self._interval, max(batch.next_due or self._interval, 0.0)))

    def _claim(self, room: int) -> Batch:
        self.claiming_since = time.monotonic()
        try:
            if self._reply_lost:
                self._hand_back_unheld()
            self._turns += 1
            return self._queue.claim(room, self._turns)
        except Unavailable:
            # The statement may have been carried out all the same.
            self._reply_lost = True
            raise
        finally:
            self.claiming_since = None

    def _hand_back_unheld(self) -> None:
        ids = self._queue.hand_back_unheld(claim.id for claim in self._leases.claims())
        self._reply_lost = False
        if ids:
            logger.warning(
                "[Worker %s] Handed %d tasks back: the reply to their claim was lost",
                self._worker_id,
                len(ids),
            )

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
