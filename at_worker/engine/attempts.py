"""An attempt: from the payload of a task to what its executor made of it."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from at_worker import jsontext, log
from at_worker.engine.destination import Postpone
from at_worker.engine.destinations import Destinations, Verdict
from at_worker.engine.running import Left, Running
from at_worker.jsontext import Json
from at_worker.outcome import Fail, Outcome, Retry
from at_worker.plugin import AnyExecutor, Attempt, InvalidPayload, MissingSetting
from at_worker.task import Claim, Task
from at_worker.text import one_line

if TYPE_CHECKING:  # its library is an extra
    from at_worker.engine.tracing import Tracing

logger = logging.getLogger(__name__)


class Attempts:
    """Begins attempts, and knows what became of each; all threads share it.

    `ended` hears of those that end elsewhere, in whichever thread has ended their Future; None is an end of
    which nothing can be said, not even that it surprised.
    """

    def __init__(
        self,
        executors: Mapping[str, AnyExecutor],
        destinations: Destinations,
        stopping: threading.Event,
        ended: Callable[[Running, Outcome | None], None],
        tracing: "Tracing | None" = None,
    ) -> None:
        self._executors = executors
        self._locate: dict[str, Callable[[Any], str | None] | None] = {
            name: getattr(executor, "destination", None) for name, executor in executors.items()
        }
        self._destinations = destinations
        self._stopping = stopping
        self._ended = ended
        self._tracing = tracing
        # What has been made of the payloads of tasks that are about to begin, or wait for another to end.
        self._parsed: dict[Claim, tuple[Task, object, str | None]] = {}

    def begin(self, running: Running) -> Outcome | Postpone | Left:
        """Begin one: how it ended in this thread, or why not."""
        try:
            return self._begin(running)
        except BaseException as error:  # noqa: BLE001 - sys.exit() in a plug-in must cost no task and no thread
            return self._explained(running, error)

    def prepare(self, task: Task) -> None:
        """Parse the payload of a task that is about to begin. Raises whatever its executor does."""
        executor = self._executors.get(task.type)
        if executor is not None:
            payload, destination = self._parse(task, executor)
            self._parsed[task.claim] = task, payload, destination

    def forget(self, claim: Claim) -> None:
        """A task will not begin again by this claim."""
        _, _, destination = self._parsed.pop(claim, (None, None, None))
        if destination is not None:
            self._destinations.pass_on(destination, time.monotonic())

    def _begin(self, running: Running) -> Outcome | Postpone | Left:
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
            if isinstance(verdict, Postpone):
                return verdict
            self._parsed.pop(task.claim, None)
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
        locate = self._locate[task.type]
        return payload, None if locate is None else locate(payload)

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
            stopping=self._stopping,
        )
        return attempt if self._tracing is None else self._tracing.traced(attempt, running)

    def _conclude(self, running: Running, destination: str | None, future: "Future[object]") -> None:
        """Tell of an attempt whose Future has ended."""
        with log.about(running.task):
            outcome: Outcome | None = None
            try:
                try:
                    outcome = _checked(running.task, future.result())
                except BaseException as error:  # noqa: BLE001 - as of one that ends in its thread
                    outcome = self._explained(running, error)
                finally:
                    self._leave(running, destination, outcome)
            finally:
                self._ended(running, outcome)

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
