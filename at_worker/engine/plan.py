"""When the next claim is worth it, and of what; any thread may bring it forward."""

import threading
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

from at_worker.store.lanes import Lane


class Announcement(NamedTuple):
    """A row became pending; `execute_at` is in seconds since the epoch, rounded down, and -inf long ago.

    `is_due` says that it was due by then.
    """

    lane: Lane
    execute_at: float
    is_due: bool


class Scope(Enum):
    """What a claim takes from, where that is not the lane of an announcement."""

    ALL = auto()


class Plan:
    """The instant of the next claim of everything, in monotonic seconds, and a lane that is due before it.

    The first is at once. `wake` is called when something is to be claimed sooner than it was.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lane: Announcement | None = None
        self.instant = 0.0
        self.wake: Callable[[], None] = lambda: None

    def claim_by(self, instant: float) -> None:
        """Claim at this instant, if no earlier one is planned."""
        with self._lock:
            earlier = instant < self.instant
            if earlier:
                self.instant = instant
        if earlier:
            self.wake()

    def claim_lane(self, due: Announcement) -> None:
        """Claim from this lane at once; where another one waits for that, from all."""
        with self._lock:
            waiting = self._lane or due
            if waiting.lane == due.lane:
                self._lane = min(waiting, due)
            else:
                self.instant = 0.0
        self.wake()

    def take(self) -> Scope | Announcement | None:
        """What is to be claimed now; what is planned from here on is for the next claim."""
        with self._lock:
            lane, self._lane = self._lane, None
            if time.monotonic() < self.instant:
                return lane
            self.instant = float("inf")
            return Scope.ALL

    def resume(self, pause: float) -> None:
        """After a claim: the next in so many seconds, unless it was planned sooner meanwhile."""
        with self._lock:
            self.instant = min(self.instant, time.monotonic() + pause)

    @property
    def wait(self) -> float:
        """Seconds until the next claim."""
        return max(0.0, self.instant - time.monotonic())
