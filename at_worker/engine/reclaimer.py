"""Gives back at once what a dead worker process had claimed: its parent knows the death from the kernel."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from at_worker.engine.cleaner import BATCH, give_back, tell
from at_worker.engine.tally import Tally
from at_worker.store.errors import Unavailable
from at_worker.store.recovery import Recovery

# Seconds after the death. A claim that was under way may be committed after it, and rows that somebody has
# locked are passed over; what shows up later still is the cleaner's.
LOOKS = (0.0, 0.25, 1.0, 5.0, 30.0)


@dataclass(frozen=True, slots=True)
class Dead:
    """A holder of claims (`WORKER_ID/boot id`) that is no more, and how often its claims were looked for."""

    holder: str
    reason: str
    since: float
    looks: int = 0

    @property
    def due(self) -> float:
        return self.since + LOOKS[self.looks]


class Reclaimer:
    """Looks for the claims of the dead and settles them as lost attempts."""

    def __init__(self, recovery: Recovery, tally: Tally, default_delays: Sequence[float]) -> None:
        self._recovery = recovery
        self._tally = tally
        self._default_delays = default_delays
        self._news = threading.Condition()
        self._dead: dict[str, Dead] = {}
        self.wake: Callable[[], None] = lambda: None

    def put(self, holder: str, fate: str) -> None:
        """Tell of a dead holder; `fate` is how it ended."""
        with self._news:
            self._dead[holder] = Dead(holder, f"lost: worker {holder} {fate}, may have run", time.monotonic())
        self.wake()

    def turn(self) -> float | None:
        """Look for what is due to be looked for. Where the database is away, the look is not counted."""
        now = time.monotonic()
        with self._news:
            due = [dead for dead in self._dead.values() if dead.due <= now]
        for dead in due:
            self._look(dead)
        with self._news:
            following = min((dead.due for dead in self._dead.values()), default=None)
        return None if following is None else max(following - time.monotonic(), 0.0)

    def finish(self, seconds: float) -> None:
        """Wait at most so long until everybody's claims were looked for once."""
        with self._news:
            self._news.wait_for(lambda: all(dead.looks for dead in self._dead.values()), seconds)

    def _look(self, dead: Dead) -> None:
        try:
            while self._restore(dead) == BATCH:
                pass
        except Unavailable:
            raise
        except BaseException:
            self._count(dead)
            raise
        self._count(dead)

    def _restore(self, dead: Dead) -> int:
        with self._recovery.held_by(dead.holder, BATCH) as (session, lost):
            ends = give_back(session, lost, lambda _: dead.reason, self._default_delays)
        for settlement in ends:
            tell(settlement, self._tally)
        return len(ends)

    def _count(self, dead: Dead) -> None:
        with self._news:
            if dead.looks + 1 < len(LOOKS):
                self._dead[dead.holder] = replace(dead, looks=dead.looks + 1)
            else:
                del self._dead[dead.holder]
            self._news.notify_all()
