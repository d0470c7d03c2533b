"""What a thread does with a task: from the claimed row to what is written for it."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from at_worker import jsontext, log
from at_worker.engine.destination import Postpone
from at_worker.engine.destinations import Destinations, Verdict
from at_worker.engine.leases import Leases
from at_worker.engine.runner import Running
from at_worker.engine.settler import Settler
from at_worker.jsontext import Json
from at_worker.outcome import (
    Fail,
    Outcome,
    Retry,
    Run,
    Settlement,
    Status,
    expire,
    hand_back,
    postpone,
    resolve,
)
from at_worker.plugin import AnyExecutor, Attempt, InvalidPayload, MissingSetting
from at_worker.task import Task
from at_worker.text import clip, one_line

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
        self._executors = executors
        self._destination: dict[str, Callable[[Any], str | None] | None] = {
            name: getattr(executor, "destination", None) for name, executor in executors.items()
        }
        self._destinations = destinations
        self._leases = leases
        self._settler = settler
        self._default_delays = default_delays
        self._tracing = tracing
        self.stopping = threading.Event()

    def carry_out(self, running: Running) -> bool:
        """Run one task in the calling thread; False where it waits for another to end."""
        task = running.task
        try:
            if self.stopping.is_set() or running.started - task.due > STALE:
                self._settle(hand_back(task))
            elif task.expires is not None and running.started >= task.expires:
                self._settle(expire(task))
            else:
                match self._outcome(running):
                    case Postpone() as verdict:
                        self.postpone(task, verdict)
                    case Verdict():
                        return False
                    case outcome:
                        self.end(running, outcome)
        except BaseException:
            # Without an end to write, the heartbeat stops and the cleaner gives the task back.
            if self._leases.end(task):
                self._leases.release([task])
            raise
        return True

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
        if settled and self._tracing is not None:
            self._tracing.end(running, settlement)
        if settled and settlement.error is not None:
            self._tell(task, settlement)
        return settled

    def _settle(self, settlement: Settlement) -> bool:
        first = self._leases.end(settlement.task)
        if first:
            self._settler.put(settlement)
        return first

    def _outcome(self, running: Running) -> Outcome | Postpone | Verdict:
        task = running.task
        executor = self._executors.get(task.type)
        if executor is None:
            return Retry(
                f"unknown task_type {task.type!r}; this worker knows {', '.join(sorted(self._executors))}"
            )
        try:
            outcome = self._attempted(running, executor)
        except InvalidPayload as error:
            return Fail(str(error))
        except MissingSetting as error:
            return Retry(str(error))
        except BaseException as error:  # sys.exit() in a plug-in must not cost the task or the thread
            logger.exception("[Executor] Surprise in task %d", task.id)
            if self._tracing is not None:
                self._tracing.surprise(running, error)
            return Retry(one_line(error))
        if isinstance(outcome, Postpone | Verdict) or (isinstance(outcome, Outcome) and _is_usable(outcome)):
            return outcome
        return Retry(
            f"the executor of {task.type} returned {type(outcome).__name__}, not Done, Retry or Fail"
        )

    def _attempted(self, running: Running, executor: AnyExecutor) -> object:
        """What the executor returned, or why the task's destination did not take it."""
        task = running.task
        payload = executor.parse(parse_payload(task.payload))
        locate = self._destination[task.type]
        destination = None if locate is None else locate(payload)
        if destination is None:
            return executor.execute(payload, self._attempt(running))
        verdict = self._destinations.enter(task, destination, running.started)
        if verdict is not Verdict.START:
            return verdict
        return self._visit(destination, executor, payload, running)

    def _visit(self, destination: str, executor: AnyExecutor, payload: object, running: Running) -> object:
        unreachable = None
        try:
            outcome: object = executor.execute(payload, self._attempt(running))
            if isinstance(outcome, Retry) and outcome.unreachable:
                unreachable = outcome.reason
        finally:
            self._destinations.leave(
                running.task.claim, destination, unreachable=unreachable, now=time.monotonic()
            )
        return outcome

    def _attempt(self, running: Running) -> Attempt:
        task = running.task
        context = parse_or_none(task.context) if task.context != "{}" else {}
        attempt = Attempt(
            task_id=task.id,
            task_uid=task.uid,
            number=task.attempt,
            scheduled_at=task.scheduled_at,
            context=context if isinstance(context, Mapping) else {},
            previous=parse_or_none(task.result),
            deadline=running.deadline,
            stopping=self.stopping,
        )
        return attempt if self._tracing is None else self._tracing.traced(attempt, running)

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


def _is_usable(outcome: Outcome) -> bool:
    """Whether a plug-in filled its outcome with what it may hold."""
    reason: object = getattr(outcome, "reason", "")
    after: object = getattr(outcome, "after", None)
    return isinstance(reason, str) and isinstance(after, int | float | None)


def parse_payload(payload: str) -> Json:
    """Parse the text of a payload. Raises InvalidPayload."""
    try:
        return jsontext.parse(payload)
    except ValueError as error:
        raise InvalidPayload("payload", str(error)) from None


def parse_or_none(text: str | None) -> Json:
    """Parse what is of no use to the attempt where it cannot be parsed."""
    try:
        return None if text is None else jsontext.parse(text)
    except ValueError:
        return None
