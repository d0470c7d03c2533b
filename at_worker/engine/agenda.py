"""What the threads of a worker will do next, in order."""

import heapq
from collections import deque
from collections.abc import Iterable

from at_worker.task import Claim, Task


class Agenda:
    """Claimed tasks without a thread: what is due, first come first served, and what will be due in a moment.

    Instants are monotonic seconds. Whoever shares it among threads has to guard it.
    """

    def __init__(self) -> None:
        self._due: deque[Task] = deque()
        # The claim parts tasks of the same instant, which have no order of their own.
        self._held: list[tuple[float, Claim, Task]] = []

    @property
    def due(self) -> int:
        """How many tasks wait for nothing but a thread."""
        return len(self._due)

    @property
    def held(self) -> int:
        """How many tasks wait for their instant."""
        return len(self._held)

    @property
    def following(self) -> float | None:
        """The instant of the next task that is held."""
        return self._held[0][0] if self._held else None

    def after(self, count: int) -> float:
        """The instant by which so many of those that are held will have started, or all."""
        return max((instant for instant, _, _ in heapq.nsmallest(count, self._held)), default=0.0)

    def add(self, tasks: Iterable[Task]) -> None:
        """These are due."""
        self._due.extend(tasks)

    def hold(self, tasks: Iterable[Task]) -> None:
        """These will be due."""
        for task in tasks:
            heapq.heappush(self._held, (task.due, task.claim, task))

    def proceed(self, now: float) -> None:
        """Whatever was to start by now is due, and not a moment sooner."""
        while self._held and self._held[0][0] <= now:
            self._due.append(heapq.heappop(self._held)[2])

    def take(self) -> Task | None:
        """Take the task whose turn it is."""
        return self._due.popleft() if self._due else None

    def take_early(self, instant: float) -> Task | None:
        """Take the next task that is held, where it will be due by then."""
        return heapq.heappop(self._held)[2] if self._held and self._held[0][0] <= instant else None

    def take_all_due(self) -> list[Task]:
        """Take back what is due."""
        tasks = list(self._due)
        self._due.clear()
        return tasks

    def take_all_held(self) -> list[Task]:
        """Take back what is held."""
        tasks = [task for _, _, task in self._held]
        self._held.clear()
        return tasks
