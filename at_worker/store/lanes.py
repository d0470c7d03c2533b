"""The lanes of the queue, and up to where each has been worked off."""

import threading
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Self


class Lane(NamedTuple):
    """The pending rows of one type and priority."""

    task_type: str
    priority: int


class Place(NamedTuple):
    """A place in a lane: `execute_at` in seconds since the epoch, and the id of a row of that instant."""

    execute_at: float
    id: int

    @classmethod
    def at(cls, execute_at: float) -> Self:
        """The place before all rows of an instant: the id of a row may be any bigint."""
        return cls(execute_at, -(2**63))


EVERYTHING = Place.at(float("-inf"))


class Lanes:
    """Remembers lower bounds, so that a claim steps over the dead index entries before them.

    Index entries of claimed rows stay until vacuum removes them, which an old snapshot (a long dump, a
    forgotten transaction) can prevent for hours. What becomes pending behind a bound is announced and lowers
    it. Every `interval` seconds the bounds are forgotten all the same: a row may have been locked, or
    committed late without an announcement.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._lock = threading.Lock()
        self._bounds: dict[Lane, Place] | None = None
        self._claiming: dict[Lane, Place] = {}  # the bounds of the claim under way
        self._surveyed = float("-inf")
        self._heard: dict[Lane, Place] = {}
        self._forgotten = False

    def begin(self, now: float) -> Mapping[Lane, Place] | None:
        """The lanes with their bounds for a claim at this monotonic instant; None: look at all there is."""
        with self._lock:
            self._heard, self._forgotten = {}, False
            if self._bounds is None or now - self._surveyed >= self._interval:
                self._bounds, self._claiming, self._surveyed = None, {}, now
                return None
            self._claiming = self._bounds
            return dict(self._bounds)

    def end(
        self, found: Iterable[Lane], claimed: Iterable[tuple[Lane, Place]], began: float, *, exhausted: bool
    ) -> None:
        """Note what a claim of that instant did: lanes it found, rows it took, whether all that were due."""
        with self._lock:
            bounds = dict.fromkeys(found, EVERYTHING) | self._claiming
            if exhausted:
                bounds = dict.fromkeys(bounds, Place.at(began))
            for lane, place in claimed:
                # What is near is looked for again: who had locked a row may let go of it before its instant.
                bounds[lane] = max(bounds.get(lane, EVERYTHING), min(place, Place.at(began)))
            # What was announced meanwhile may have come too late for this claim.
            for lane, place in self._heard.items():
                bounds[lane] = min(bounds.get(lane, place), place)
            self._bounds = None if self._forgotten else bounds

    def lower(self, lane: Lane, execute_at: float) -> None:
        """A row of this lane became pending that is due then, in seconds since the epoch."""
        place = Place.at(execute_at)
        with self._lock:
            self._heard[lane] = min(place, self._heard.get(lane, place))
            if self._bounds is not None and lane in self._bounds:
                self._bounds[lane] = min(place, self._bounds[lane])
            else:
                self._bounds = None

    def forget(self) -> None:
        """Rows became pending anywhere."""
        with self._lock:
            self._forgotten, self._bounds = True, None
