"""Ends attempts that overrun their deadline: a thread cannot be killed, but it can be written off."""

import logging
import time
from collections.abc import Callable

from at_worker.engine.destinations import Destinations
from at_worker.engine.execution import STALE, Execution
from at_worker.engine.runner import Runner
from at_worker.outcome import Retry

logger = logging.getLogger(__name__)

# An executor that keeps its deadline is given the time to say so itself.
GRACE = 1.0
# Seconds; what waits for a destination that has become slow keeps others from being claimed.
LOOK_AGAIN = 0.1


class Watchdog:
    """Settles what overran as a failure that may pass, and gives up when no healthy thread is left.

    Also gives back what no thread could begin in time.
    """

    def __init__(
        self,
        runner: Runner,
        execution: Execution,
        destinations: Destinations,
        timeout: float,
        give_up: Callable[[str], None],
    ) -> None:
        self._runner = runner
        self._destinations = destinations
        self._execution = execution
        self._timeout = timeout
        self._give_up = give_up

    def turn(self) -> float:
        """Look at what runs; returns the seconds until the next look."""
        return self.look(time.monotonic())

    def look(self, now: float) -> float:
        """The same at a given monotonic instant."""
        for task in self._runner.overdue(now - STALE):
            # Somebody else may start it sooner.
            self._execution.give_back(task)
        for task, verdict in self._destinations.overdue(now - STALE, now):
            self._execution.postpone(task, verdict)
            self._runner.freed()
        for running in self._runner.running():
            if running.deadline + GRACE > now:
                continue
            reason = f"timed out after {self._timeout:g} s, may still be running"
            self._execution.end(running, Retry(reason))
            self._runner.write_off(running)
            self._destinations.forget(running.task.claim, now)
        if self._runner.written_off >= self._runner.concurrency:
            self._give_up(
                f"{self._runner.written_off} tasks overran WORKER_TASK_TIMEOUT and have not returned:"
                " no thread can be trusted, so this process ends"
            )
        return LOOK_AGAIN
