"""Shows the database that this worker lives: touches every row it holds."""

import logging

from at_worker.engine.leases import Leases
from at_worker.store.queue import Queue

logger = logging.getLogger(__name__)

LARGEST_BATCH = 1000
LOCKED_PAUSE = 1.0


class Heartbeat:
    """Beats every `interval` seconds; rows that somebody has locked are tried again sooner."""

    def __init__(self, queue: Queue, leases: Leases, interval: float) -> None:
        self._queue = queue
        self._leases = leases
        self._interval = interval

    def turn(self) -> float:
        claims = self._leases.claims()
        locked = False
        for start in range(0, len(claims), LARGEST_BATCH):
            leftover = self._queue.beat(claims[start : start + LARGEST_BATCH])
            locked = locked or bool(leftover.locked)
            for claim in leftover.lost:
                if self._leases.lose(claim):
                    logger.warning("[Heartbeat] Task %d was changed or given away while it runs", claim.id)
        return min(self._interval, LOCKED_PAUSE) if locked else self._interval
