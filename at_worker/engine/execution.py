"""What a thread does with a task: from the claimed row to what is written for it."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from at_worker import jsontext, log
from at_worker.engine.destination import Postpone
from at_worker.engine.destinations import Destinations, Verdict
from at_worker.engine.leases import Leases
from at_worker.engine.runner import Left, Running
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
from at_worker.task import Claim, Task
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
        # What has been made of the payloads of tasks that wait for another to end.
        self._parsed: dict[Claim, tuple[Task, object, str]] = {}
        self.finished: Callable[[Running], None] = lambda _: None

    def carry_out(self, running: Running) -> Left:
        """Run one task in the calling thread; `finished` hears of its end where that comes elsewhere."""
        task = running.task
        try:
            if self.stopping.is_set() or running.started - task.due > STALE:
                self._settle(hand_back(task))
            elif task.expires is not None and running.started >= task.expires:
                self._settle(expire(task))
            else:
                match self._begun(running):
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

    def _settle(self, settlement: Settlement) -> bool:
        self._parsed.pop(settlement.task.claim, None)
        first = self._leases.end(settlement.task)
        if first:
            self._settler.put(settlement)
        return first

    def _give_up(self, task: Task) -> None:
        """Without an end to write, the heartbeat stops and the cleaner gives the task back."""
        self._parsed.pop(task.claim, None)
        if self._leases.end(task):
            self._leases.release([task])

    def _begun(self, running: Running) -> Outcome | Postpone | Left:
        """Begin an attempt: how it ended in this thread, or why not."""
        try:
            return self._attempted(running)
        except BaseException as error:  # noqa: BLE001 - sys.exit() in a plug-in must cost no task and no thread
            return self._explained(running, error)

    def _attempted(self, running: Running) -> Outcome | Postpone | Left:
        task = running.task
        executor = self._executors.get(task.type)
        if executor is None:
            known = ", ".join(sorted(self._executors))
            return Retry(f"unknown task_type {task.type!r}; this worker knows {known}")
        payload, destination = self._parse(task, executor)
        if destination is not None:
            # Before it may wait: it may have begun again before this thread hears that it has to.
            self._parsed[task.claim] = task, payload, destination
            verdict = self._destinations.enter(task, destination, running.started)
            if verdict is Verdict.WAIT:
                return Left.WAITING
            self._parsed.pop(task.claim, None)
            if isinstance(verdict, Postpone):
                return verdict
        try:
            outcome: object = executor.execute(payload, self._attempt(running))
            if isinstance(outcome, Future):
                outcome.add_done_callback(partial(self._conclude, running, destination))
                return Left.ELSEWHERE
        except BaseException:
            self._leave(running, destination)
            raise
        self._leave(running, destination, outcome)
        return _checked(task, outcome)

    def _parse(self, task: Task, executor: AnyExecutor) -> tuple[object, str | None]:
        """What the executor makes of the payload, and where the task goes."""
        known = self._parsed.pop(task.claim, None)
        if known is not None and known[0] is task:
            return known[1:]
        payload = executor.parse(parse_payload(task.payload))
        locate = self._destination[task.type]
        return payload, None if locate is None else locate(payload)

    def _conclude(self, running: Running, destination: str | None, future: "Future[object]") -> None:
        """End an attempt in whichever thread has ended its Future."""
        with log.about(running.task):
            outcome: Outcome | None = None
            try:
                try:
                    outcome = _checked(running.task, future.result())
                except BaseException as error:  # noqa: BLE001 - as of one that ends in its thread
                    outcome = self._explained(running, error)
                finally:
                    self._leave(running, destination, outcome)
                self.end(running, outcome)
            except BaseException:
                self._give_up(running.task)
                if self._tracing is not None:
                    self._tracing.discard(running)
                raise
            finally:
                self.finished(running)

    def _leave(self, running: Running, destination: str | None, outcome: object = None) -> None:
        if destination is not None:
            unreachable = outcome.reason if isinstance(outcome, Retry) and outcome.unreachable else None
            self._destinations.leave(
                running.task.claim, destination, unreachable=unreachable, now=time.monotonic()
            )

    def _explained(self, running: Running, error: BaseException) -> Outcome:
        """What an exception means for the task."""
        match error:
            case InvalidPayload():
                return Fail(str(error))
            case MissingSetting():
                return Retry(str(error))
        logger.error("[Executor] Surprise in task %d", running.task.id, exc_info=error)
        if self._tracing is not None:
            self._tracing.surprise(running, error)
        return Retry(one_line(error))

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


def _checked(task: Task, outcome: object) -> Outcome:
    """What an executor returned, if it is filled with what it may hold."""
    reason: object = getattr(outcome, "reason", "")
    after: object = getattr(outcome, "after", None)
    if isinstance(outcome, Outcome) and isinstance(reason, str) and isinstance(after, int | float | None):
        return outcome
    return Retry(f"the executor of {task.type} returned {type(outcome).__name__}, not Done, Retry or Fail")


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
