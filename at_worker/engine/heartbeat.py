"""Shows the database that this worker lives: touches every row it holds."""

import logging
from collections.abc import Iterable

from at_worker import log
from at_worker.engine.leases import Leases
from at_worker.store.errors import Refused
from at_worker.store.quarantine import in_halves
from at_worker.store.queue import Queue
from at_worker.task import Claim

logger = logging.getLogger(__name__)

LARGEST_BATCH = 1000
LOCKED_PAUSE = 1.0


class Heartbeat:
    """Beats every `interval` seconds; rows that somebody has locked are tried again sooner."""

    def __init__(self, queue: Queue, leases: Leases, interval: float) -> None:
        self._queue = queue
        self._leases = leases
        self._interval = interval
        self._refused: set[Claim] = set()  # at the last turn

    def turn(self) -> float:
        claims = self._leases.claims()
        locked = False
        refused: set[Claim] = set()
        for start in range(0, len(claims), LARGEST_BATCH):
            for part, result in in_halves(claims[start : start + LARGEST_BATCH], self._queue.beat):
                if isinstance(result, Refused):
                    refused.add(part[0])
                    self._tell(part[0], result)
                else:
                    locked = locked or bool(result.locked)
                    self._lose(result.lost)
        self._refused = refused
        return min(self._interval, LOCKED_PAUSE) if locked else self._interval

    def _lose(self, lost: Iterable[Claim]) -> None:
        for claim in lost:
            if task := self._leases.lose(claim):
                with log.about(task):
                    logger.warning("[Heartbeat] Task %d was changed or given away while it runs", claim.id)

    def _tell(self, claim: Claim, refusal: Refused) -> None:
        # Of one that has ended meanwhile, the settler tells what becomes of its end.
        if claim not in self._refused and (task := self._leases.unended(claim)):
            with log.about(task):
                logger.error(
                    "[Heartbeat] PostgreSQL refuses the heartbeat of task %d, which may run twice: %s",
                    claim.id,
                    refusal,
                )
