"""What a thread does with a task: from the claimed row to what is written for it."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from at_worker import log
from at_worker.engine.attempts import Attempts
from at_worker.engine.destination import Postpone
from at_worker.engine.destinations import Destinations
from at_worker.engine.leases import Leases
from at_worker.engine.running import Left, Running
from at_worker.engine.settler import Settler
from at_worker.outcome import Outcome, Run, Settlement, Status, expire, hand_back, postpone, resolve
from at_worker.plugin import AnyExecutor
from at_worker.task import Task
from at_worker.text import clip

if TYPE_CHECKING:  # its library is an extra
    from at_worker.engine.tracing import Tracing

logger = logging.getLogger(__name__)

# A claim that starts so late was held up: by busy threads, or a process that was stopped.
# Somebody else may own the task by now, or could start it sooner.
STALE = 1.0


class Execution:
    """Runs tasks through their executors and hands over how they ended; all threads share it."""

    def __init__(
        self,
        executors: Mapping[str, AnyExecutor],
        leases: Leases,
        settler: Settler,
        destinations: Destinations,
        *,
        default_delays: Sequence[float],
        tracing: "Tracing | None" = None,
    ) -> None:
        self._leases = leases
        self._settler = settler
        self._default_delays = default_delays
        self._tracing = tracing
        self.stopping = threading.Event()
        self._attempts = Attempts(executors, destinations, self.stopping, self._end_elsewhere, tracing)
        self.finished: Callable[[Running], None] = lambda _: None

    def prepare(self, task: Task) -> None:
        """Do beforehand what can be, for a task that is about to start. Raises whatever its executor does."""
        self._attempts.prepare(task)
        if self._leases.unended(task.claim) is None:
            self._attempts.forget(task.claim)  # it was written off meanwhile

    def carry_out(self, running: Running) -> Left:
        """Run one task in the calling thread; `finished` hears of its end where that comes elsewhere."""
        task = running.task
        try:
            if self.stopping.is_set() or running.started - task.due > STALE:
                self._settle(hand_back(task))
            elif task.expires is not None and running.started >= task.expires:
                self._settle(expire(task))
            else:
                match self._attempts.begin(running):
                    case Postpone() as verdict:
                        self.postpone(task, verdict)
                    case Left() as left:
                        return left
                    case outcome:
                        self.end(running, outcome)
        except BaseException:
            self._give_up(task)
            raise
        return Left.ENDED

    def give_back(self, task: Task) -> None:
        """End a claim that was never started."""
        self._settle(hand_back(task))

    def postpone(self, task: Task, verdict: Postpone) -> None:
        """Let a task come back later: its destination takes none just now."""
        self._settle(postpone(task, verdict.seconds, verdict.why, now=time.monotonic()))

    def end(self, running: Running, outcome: Outcome) -> bool:
        """Settle an attempt; False where it had been settled already or its claim was lost."""
        now = time.monotonic()
        task = running.task
        settlement = resolve(
            task, outcome, now=now, run=Run(running.started, now), default_delays=self._default_delays
        )
        settled = self._settle(settlement)
        if self._tracing is not None:
            if settled:
                self._tracing.end(running, settlement)
            else:
                self._tracing.discard(running)
        if settled and settlement.error is not None:
            self._tell(task, settlement)
        return settled

    def _end_elsewhere(self, running: Running, outcome: Outcome | None) -> None:
        ended = False
        try:
            if outcome is not None:
                self.end(running, outcome)
                ended = True
        finally:
            try:
                if not ended:
                    self._give_up(running.task)
                    if self._tracing is not None:
                        self._tracing.discard(running)
            finally:
                self.finished(running)

    def _settle(self, settlement: Settlement) -> bool:
        first = self._leases.end(settlement.task)
        if first:
            self._settler.put(settlement)
        self._attempts.forget(settlement.task.claim)
        return first

    def _give_up(self, task: Task) -> None:
        """Without an end to write, the heartbeat stops and the cleaner gives the task back."""
        self._attempts.forget(task.claim)
        if self._leases.end(task):
            self._leases.release([task])

    def _tell(self, task: Task, settlement: Settlement) -> None:
        fate = (
            f"again in {settlement.delay:.0f} s"
            if settlement.status is Status.PENDING and settlement.delay is not None
            else "for good"
        )
        with log.about(task):  # the watchdog tells it too
            logger.warning(
                "[Executor] Task %d failed: %s (%s, attempt %d of %d, %s%s)",
                task.id,
                settlement.error,
                task.type,
                task.attempt,
                task.max_attempts,
                fate,
                "" if task.context == "{}" else f", context {clip(task.context, log.LONGEST_CONTEXT)}",
            )
