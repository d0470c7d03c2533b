"""The threads that run tasks."""

import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from at_worker import log
from at_worker.engine.stop import thread
from at_worker.task import Task

logger = logging.getLogger(__name__)

RECENT = 0.03


@dataclass(frozen=True, slots=True, eq=False)
class Running:
    """A task in its thread; instants are monotonic seconds.

    Known by itself, not by its claim: a task that waited for another may begin in a second thread before it
    has left the first.
    """

    task: Task
    started: float
    deadline: float


class Runner:
    """A pool of threads that knows how many are idle and can write one off that never returns.

    Tasks are handed over as `room` allows, so that none waits here for long. `carry_out` returns False where
    a task left its thread to wait for another.
    """

    def __init__(
        self,
        concurrency: int,
        timeout: float,
        carry_out: Callable[[Running], bool],
    ) -> None:
        self.concurrency = concurrency
        self._timeout = timeout
        self._carry_out = carry_out
        self._inbox: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._all_idle = threading.Condition(self._lock)
        self._busy = 0
        self._running: set[Running] = set()
        self._ends: deque[float] = deque()
        self.written_off = 0
        self.freed: Callable[[], None] = lambda: None
        self.waiting: Callable[[], int] = lambda: 0

    @property
    def room(self) -> int:
        """How many tasks may be handed over: idle threads, and as many as lately ended in a moment.

        Those keep the threads of short tasks busy while the next claim is on its way. What left its thread
        again to wait for another task comes first.
        """
        horizon = time.monotonic() - RECENT
        with self._lock:
            while self._ends and self._ends[0] < horizon:
                self._ends.popleft()
            return self.concurrency - self._busy + len(self._ends) - self.waiting()

    def start(self, task: Task) -> None:
        """Hand a task to the next thread that is idle."""
        with self._lock:
            self._busy += 1
        self._inbox.put(task)

    def running(self) -> list[Running]:
        with self._lock:
            return list(self._running)

    def unstarted(self) -> list[Task]:
        """Take back what no thread has begun."""
        tasks = []
        with contextlib.suppress(queue.Empty):
            while True:
                if task := self._inbox.get_nowait():
                    tasks.append(task)
        with self._lock:
            self._busy -= len(tasks)
            self._tell_if_idle()
        return tasks

    def overdue(self, before: float) -> list[Task]:
        """Take back what was due before this monotonic instant and has not begun: the threads are busy."""
        waiting = self.unstarted()
        for task in waiting:
            if task.due >= before:
                self.start(task)
        return [task for task in waiting if task.due < before]

    def write_off(self, running: Running) -> None:
        """Give up on the thread of a task that overran its deadline, and put another in its place."""
        with self._lock:
            if running not in self._running:
                return
            self._running.remove(running)
            self.written_off += 1
            self._busy -= 1
            self._tell_if_idle()
        self._spawn()
        self.freed()

    def wait_until_idle(self, until: float) -> bool:
        """Wait for the running tasks until the monotonic instant `until`; True when all have ended."""
        with self._all_idle:
            return self._all_idle.wait_for(lambda: not self._busy, max(0.0, until - time.monotonic()))

    def __enter__(self) -> Self:
        for _ in range(self.concurrency):
            self._spawn()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _ in range(self.concurrency):
            self._inbox.put(None)

    def _spawn(self) -> None:
        thread("runner", self._serve).start()

    def _serve(self) -> None:
        while (task := self._inbox.get()) is not None:
            log.here.subject = task
            started = time.monotonic()
            running = Running(task, started, started + self._timeout)
            with self._lock:
                self._running.add(running)
            ended = True
            try:
                ended = self._carry_out(running)
            except BaseException:
                # Nothing may cost the worker a thread, not even MemoryError or SystemExit.
                logger.exception("Surprise in the thread of task %d", task.id)
            if not self._leave(running, ended=ended):
                with self._lock:
                    self.written_off -= 1
                return
            self.freed()

    def _leave(self, running: Running, *, ended: bool) -> bool:
        """The thread is idle again; False where it was written off meanwhile and another has its place."""
        with self._lock:
            if running not in self._running:
                return False
            self._running.remove(running)
            self._busy -= 1
            if ended:
                self._ends.append(time.monotonic())
            self._tell_if_idle()
            return True

    def _tell_if_idle(self) -> None:
        if not self._busy:
            self._all_idle.notify_all()
