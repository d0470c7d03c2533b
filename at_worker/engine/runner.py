"""The threads that run tasks, each on its instant."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from at_worker import log
from at_worker.engine.agenda import Agenda
from at_worker.engine.crew import Crew, Hand
from at_worker.engine.running import Left, Running
from at_worker.engine.stop import thread
from at_worker.task import Task

logger = logging.getLogger(__name__)

# Seconds. Under load a claim of hundreds of rows takes half as long: with work for less the threads run dry.
RECENT = 0.06
# So many seconds before its instant a task that is held gets its thread: by then that has woken the next one,
# what it needs is in the caches, and what can be done beforehand is done.
EARLY = 0.0003


class Runner:
    """A pool of threads that knows how many are idle and can write one off that never returns.

    Tasks are handed over as `room` allows, so that none waits here for long; those that will be due in a
    moment are held and reserve no thread. One that is idle takes each a moment early, and calls `prepare`
    before it waits for the instant. What `carry_out` leaves to end elsewhere runs on without a thread until
    `finish`; it counts among the `concurrency` that may run. `abandon` hears of a task whose thread met with
    a surprise.

    Which thread runs which is the Crew's to say.
    """

    def __init__(
        self,
        concurrency: int,
        timeout: float,
        carry_out: Callable[[Running], Left],
    ) -> None:
        self.concurrency = concurrency
        self._timeout = timeout
        self._carry_out = carry_out
        self._lock = threading.Lock()
        self._all_idle = threading.Condition(self._lock)
        self._agenda = Agenda()
        self._running: set[Running] = set()
        self._elsewhere: set[Running] = set()
        self._lost: set[Running] = set()
        self._ends: deque[float] = deque()
        self._crew = Crew(self._lock)
        self._closed = False
        self.prepare: Callable[[Task], None] = lambda _: None
        self.abandon: Callable[[Task], None] = lambda _: None
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
            taken = len(self._running) + self._agenda.due
            return self.concurrency - taken + len(self._ends) - self.waiting()

    @property
    def written_off(self) -> int:
        """Threads that have not returned since they were given up."""
        return len(self._lost)

    @property
    def held(self) -> int:
        """How many tasks wait for their instant."""
        return self._agenda.held

    def lets_go(self, count: int) -> float:
        """The monotonic instant by which so many of the tasks that are held will have started, or all."""
        with self._lock:
            return self._agenda.after(count)

    def start(self, *tasks: Task) -> None:
        """Hand tasks that are due to the next threads that are idle."""
        with self._lock:
            self._agenda.proceed(time.monotonic())
            self._agenda.add(tasks)
            self._crew.wake()

    def hold(self, tasks: Sequence[Task]) -> None:
        """Start these tasks when their time comes, never before it."""
        with self._lock:
            self._agenda.hold(tasks)
            if (alarm := self._alarm) is not None:
                self._crew.expect(alarm)

    def running(self) -> list[Running]:
        with self._lock:
            return list(self._running)

    def unstarted(self) -> list[Task]:
        """Take back what no thread has begun, what is held included."""
        with self._lock:
            tasks = self._agenda.take_all_due() + self._agenda.take_all_held()
            self._tell_if_idle()
        return tasks

    def overdue(self, before: float) -> list[Task]:
        """Take back what was due before this monotonic instant and has not begun: the threads are busy."""
        with self._lock:
            # Of busy threads none looks whether the instant of what is held has come.
            self._agenda.proceed(before)
            waiting = self._agenda.take_all_due()
            self._agenda.add(task for task in waiting if task.due >= before)
            self._tell_if_idle()
        return [task for task in waiting if task.due < before]

    def write_off(self, running: Running) -> None:
        """Give up on a task that overran its deadline; another thread takes the place of its own."""
        with self._lock:
            if running not in self._running:
                return
            in_thread = running not in self._elsewhere
            if in_thread:
                self._lost.add(running)
            self._end(running)
            self._wake_for_due()
        if in_thread:
            self._spawn()
        self.freed()

    def finish(self, running: Running) -> None:
        """A task that left its thread to end elsewhere has ended."""
        with self._lock:
            if running not in self._running:
                return
            self._end(running)
            self._ends.append(time.monotonic())
            self._wake_for_due()
        self.freed()

    def wait_until_idle(self, until: float) -> bool:
        """Wait for the tasks that are due until the monotonic instant `until`; True when all have ended."""
        with self._all_idle:
            return self._all_idle.wait_for(lambda: self._idle, max(0.0, until - time.monotonic()))

    def __enter__(self) -> Self:
        for _ in range(self.concurrency):
            self._spawn()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._closed = True
            self._crew.dismiss()

    def _spawn(self) -> None:
        thread("runner", self._serve).start()

    def _serve(self) -> None:
        hand = Hand()
        while (running := self._next(hand)) is not None:
            log.here.subject = running.task
            left = Left.ENDED
            try:
                if self._await(running, hand):
                    left = self._carry_out(running)
            except BaseException:
                # Nothing may cost the worker a thread, not even MemoryError or SystemExit, and no task.
                logger.exception("Surprise in the thread of task %d", running.task.id)
                with suppress(BaseException):
                    self.abandon(running.task)
            if not self._leave(running, left):
                return
            self.freed()

    def _next(self, hand: Hand) -> Running | None:
        """What the calling thread is to run; it sleeps until there is something. None at the end."""
        while True:
            with self._lock:
                now = time.monotonic()
                self._agenda.proceed(now)
                startable = self._startable
                if startable and self._crew.is_spare(hand) and not self._closed:
                    sleep = self._crew.give_way(hand)
                else:
                    self._crew.look(hand)
                    task = self._take(now)
                    if task is not None:
                        starts = max(now, task.due)
                        running = Running(task, starts, starts + self._timeout)
                        self._running.add(running)
                        self._crew.begin(hand)
                        if self._startable or (self._agenda.held and not self._crew.has_leader):
                            self._crew.wake()
                        return running
                    if self._closed:
                        return None
                    sleep = self._crew.rest(hand, self._alarm)
            sleep()

    def _await(self, running: Running, hand: Hand) -> bool:
        """Wait for the instant of a task that was taken early, and make it ready meanwhile.

        False where that took so long that it was written off.
        """
        now = time.monotonic()
        if now < running.started:
            # What goes wrong will again when the task is carried out, where it has its consequences.
            with suppress(BaseException):
                self.prepare(running.task)
            while (now := time.monotonic()) < running.started:
                # Nobody releases the lock of a thread that is awake.
                hand.alarm.acquire(timeout=running.started - now)
            running.started = now
        return running not in self._lost

    def _leave(self, running: Running, left: Left) -> bool:
        """The thread is idle again; False where it was written off meanwhile and another has its place."""
        with self._lock:
            if running in self._lost:
                self._lost.remove(running)
                return False
            now = time.monotonic()
            # Who goes on elsewhere or later has waited for nothing here but the interpreter, of which more
            # threads would only take more.
            self._crew.end(now - running.started if left is Left.ENDED else 0.0)
            if left is not Left.ELSEWHERE:
                self._end(running)
            elif running in self._running:
                self._elsewhere.add(running)
            if left is Left.ENDED:
                self._ends.append(now)
            return True

    def _take(self, now: float) -> Task | None:
        """What may run next: what is due, or will be in a moment."""
        if self._is_full:
            return None
        return self._agenda.take() or self._agenda.take_early(now + EARLY)

    @property
    def _alarm(self) -> float | None:
        """When a thread is to be awake for the next task that is held: early, unless too many run."""
        following = self._agenda.following
        return following if following is None or self._is_full else following - EARLY

    @property
    def _startable(self) -> bool:
        return self._agenda.due > 0 and not self._is_full

    @property
    def _is_full(self) -> bool:
        return len(self._running) >= self.concurrency

    def _wake_for_due(self) -> None:
        if self._startable:
            self._crew.wake()

    def _end(self, running: Running) -> None:
        self._running.discard(running)
        self._elsewhere.discard(running)
        self._tell_if_idle()

    @property
    def _idle(self) -> bool:
        return not self._running and not self._agenda.due

    def _tell_if_idle(self) -> None:
        if self._idle:
            self._all_idle.notify_all()
