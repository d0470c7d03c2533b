"""Holds claimed tasks until their instant."""

import heapq
import threading
import time
from collections.abc import Callable, Iterable

from at_worker.task import Claim, Task


class Countdown:
    """Tasks that are due in a moment; each is started at its instant, never before it."""

    def __init__(self, start: Callable[[Task], None]) -> None:
        self._start = start
        self._lock = threading.Lock()
        # The claim parts tasks of the same instant, which have no order of their own.
        self._heap: list[tuple[float, Claim, Task]] = []
        self.wake: Callable[[], None] = lambda: None

    @property
    def held(self) -> int:
        return len(self._heap)

    def hold(self, tasks: Iterable[Task]) -> None:
        """Start these tasks when their time comes."""
        with self._lock:
            for task in tasks:
                heapq.heappush(self._heap, (task.due, task.claim, task))
        self.wake()

    def turn(self) -> float | None:
        """Start what is due; returns the seconds until the next instant."""
        now = time.monotonic()
        due = []
        with self._lock:
            while self._heap and self._heap[0][0] <= now:
                due.append(heapq.heappop(self._heap)[2])
            following = self._heap[0][0] if self._heap else None
        for task in due:
            self._start(task)
        return None if following is None else max(0.0, following - time.monotonic())

    def release(self) -> list[Task]:
        """Take all tasks back: none of them will start."""
        with self._lock:
            tasks = [task for _, _, task in self._heap]
            self._heap.clear()
        return tasks
