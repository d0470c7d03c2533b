"""Which task may take a thread to its destination: fair shares, and a breaker for what cannot be reached."""

import logging
import threading
from collections.abc import Callable
from enum import Enum, auto

from at_worker.engine.destination import Destination, Postpone
from at_worker.task import Claim, Task

logger = logging.getLogger(__name__)

# Threads that one destination may hold for each that is idle beyond the last one: 30 of 32, fewer where
# others hold many.
SHARE = 15
# All that are slow together leave this part of the threads free.
KEPT = 8
# With fewer threads than these, one kept free would cost more than it saves.
SMALL_POOL = 8
FORGOTTEN = 600.0
SWEEP = 60.0  # seconds between two looks for what is to be forgotten: of ten thousand hosts one takes 3 ms


class Verdict(Enum):
    """What becomes of a task that is not postponed."""

    START = auto()
    WAIT = auto()


class Destinations:
    """The destinations of one worker's tasks: a host, the broker, the mail server. All threads share it.

    A destination that is quick may let tasks wait for a thread in memory. One that holds its share of the
    threads and is slow, and one that cannot be reached, has its tasks postponed in the table: they take
    neither a thread nor a claim from those of others. `limit` bounds each, whatever its share.
    """

    def __init__(self, threads: int, limit: int | None) -> None:
        self._threads = threads
        self._limit = limit
        self._lock = threading.Lock()
        self._known: dict[str, Destination] = {}
        self._running = 0
        self._waiting = 0
        self._swept = 0.0
        self.start: Callable[[Task], None] = lambda _: None

    @property
    def waiting(self) -> int:
        """Tasks that wait in memory for a running one to end."""
        return self._waiting

    @property
    def broken(self) -> int:
        """Destinations that cannot be reached."""
        with self._lock:
            return sum(place.broken for place in self._known.values())

    def enter(self, task: Task, name: str, now: float) -> Verdict | Postpone:
        """Ask for the thread that has begun with this task; after START comes `leave`."""
        with self._lock:
            place = self._known.setdefault(name, Destination())
            place.used = now
            if place.broken:
                if verdict := place.try_again(task.claim, now):
                    return verdict
            elif not self._has_room(place, now):
                if not place.may_wait(now):
                    return place.crowded(name, now)
                place.waiting.append(task)
                self._waiting += 1
                return Verdict.WAIT
            place.running[task.claim] = now
            self._running += 1
        return Verdict.START

    def leave(self, claim: Claim, name: str, *, unreachable: str | None, now: float) -> None:
        """A task that was let in has ended; `unreachable` says why no connection came about."""
        with self._lock:
            place = self._known.get(name)
            if place is None or (began := place.running.pop(claim, None)) is None:
                return
            self._running -= 1
            was_broken = place.broken
            place.ended(claim, began, unreachable, now)
            is_broken = place.broken
            following = self._following(place)
        if is_broken and not was_broken:
            logger.warning("[Executor] Tasks for %s are postponed: %s", name, unreachable)
        elif was_broken and not is_broken:
            logger.info("[Executor] %s is reached again", name)
        if following is not None:
            self.start(following)

    def pass_on(self, name: str, now: float) -> None:
        """A task that had its turn does not run: it is the turn of the next, where there is room for one."""
        with self._lock:
            place = self._known.get(name)
            following = self._following(place) if place and self._has_room(place, now) else None
        if following is not None:
            self.start(following)

    def forget(self, claim: Claim, now: float) -> None:
        """The thread of this task is written off."""
        with self._lock:
            names = [
                name for name, place in self._known.items() if place.running.pop(claim, None) is not None
            ]
            self._running -= len(names)
        for name in names:
            self.pass_on(name, now)

    def overdue(self, before: float, now: float) -> list[tuple[Task, Postpone]]:
        """Take back what waits for a destination that is slow, or was due before this monotonic instant."""
        late = []
        with self._lock:
            for name, place in self._known.items() if self._waiting else ():
                while place.waiting and (place.is_slow(now) or place.waiting[0].due < before):
                    late.append((place.waiting.popleft(), place.crowded(name, now)))
            self._waiting -= len(late)
            if now - self._swept >= SWEEP:
                self._swept = now
                self._known = {
                    name: place
                    for name, place in self._known.items()
                    if place.running or place.waiting or now - place.used < FORGOTTEN
                }
        return late

    def release(self) -> list[Task]:
        """Take all waiting tasks back: none of them will start."""
        with self._lock:
            tasks = [task for place in self._known.values() for task in place.waiting]
            for place in self._known.values():
                place.waiting.clear()
            self._waiting = 0
        return tasks

    def _following(self, place: Destination) -> Task | None:
        """Take the next of those that wait."""
        if not place.waiting:
            return None
        self._waiting -= 1
        return place.waiting.popleft()

    def _has_room(self, place: Destination, now: float) -> bool:
        mine = len(place.running)
        if self._limit is not None and mine >= self._limit:
            return False
        if self._threads < SMALL_POOL:
            return True
        idle = self._threads - self._running
        if place.is_slow(now) and idle <= self._threads // KEPT:
            return False
        return mine == 0 or mine < SHARE * (idle - 1)
