"""For tests of programs that schedule: what a worker would do with their tasks, now and in this thread."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias
from uuid import uuid4

from at_worker import jsontext, redact
from at_worker.config import Settings, load, secret_values
from at_worker.engine.destinations import Destinations
from at_worker.engine.execution import Execution
from at_worker.engine.leases import Leases
from at_worker.engine.running import Running
from at_worker.engine.settler import Settler
from at_worker.engine.tally import Tally
from at_worker.engine.watchdog import GRACE
from at_worker.executors.registry import executors as all_executors
from at_worker.jsontext import Json
from at_worker.outcome import Outcome, Status
from at_worker.plugin import AnyExecutor, Attempt, MissingSetting
from at_worker.store.guest import Host, Lent, advance, host, look
from at_worker.store.queue import Batch, Queue
from at_worker.task import Task

__all__ = ["Fake", "Ran", "run_due"]

Fake: TypeAlias = Callable[[Json, Attempt], Outcome]


@dataclass(frozen=True, slots=True)
class Ran:
    """One attempt at a task, and its row afterwards: `pending` where it will be tried again."""

    id: int
    task_type: str
    status: Status
    attempts: int
    error: str | None
    result: Json


def run_due(
    database: Lent | str,
    executors: Mapping[str, AnyExecutor | Fake] | None = None,
    *,
    after: timedelta = timedelta(),
) -> list[Ran]:
    """Run what is due, one task after the other, and return what happened, in that order.

    `database` is a connection of psycopg 3, whose transaction goes on, or an address. `executors` are those
    of a worker with the settings of the environment, or for each task type that may run an executor or a
    function `(payload, attempt) -> outcome`; tasks of other types then stay. `after` is how much time
    passes: what comes due meanwhile runs in its turn, retries too. What is pending then moves nearer.
    """
    settings = load()
    redact.learn(secret_values(settings))
    types = None if executors is None else tuple(executors)
    ran: list[Ran] = []
    with host(database) as lent, all_executors(settings) as real:
        known = (
            real
            if executors is None
            else {
                name: _StandIn(given, real.get(name)) if callable(given) else given
                for name, given in executors.items()
            }
        )
        worker = _Worker(lent, known, types, settings)
        left, due = after.total_seconds(), True
        while due:
            ran += worker.run()
            passed = advance(lent, left, types)
            left, due = left - passed.seconds, passed.due
    return ran


@dataclass(frozen=True, slots=True)
class _StandIn:
    """A function in the place of an executor, which still has to find the payload valid."""

    fake: Fake
    real: AnyExecutor | None

    def parse(self, payload: Json) -> Json:
        if self.real is not None:
            with suppress(MissingSetting):
                self.real.parse(payload)
        return payload

    def execute(self, payload: Json, attempt: Attempt) -> Outcome:
        return self.fake(payload, attempt)

    def close(self) -> None:
        """There is nothing to let go of."""


@dataclass(frozen=True, slots=True)
class _Watched:
    """An executor whose failed assertions and interruptions (Ctrl-C, pytest.fail) are the test's.

    Without a destination: a breaker would tell the time by another clock than the table.
    """

    executor: AnyExecutor
    raised: list[BaseException]

    def parse(self, payload: Json) -> Any:  # noqa: ANN401 - what the executor makes of it
        return self.executor.parse(payload)

    def execute(self, payload: Any, attempt: Attempt) -> Outcome:  # noqa: ANN401 - the same
        try:
            outcome = self.executor.execute(payload, attempt)
            if isinstance(outcome, Future):
                return outcome.result(max(0.0, attempt.deadline + GRACE - time.monotonic()))
            return outcome
        except BaseException as error:
            if isinstance(error, AssertionError) or not isinstance(error, Exception):
                self.raised.append(error)
            raise

    def close(self) -> None:
        """The executor is closed by whoever made it."""


class _Worker:
    """The parts of a worker that one thread needs for one task at a time."""

    def __init__(
        self,
        host: Host,
        known: Mapping[str, AnyExecutor],
        types: Sequence[str] | None,
        settings: Settings,
    ) -> None:
        self._host = host
        self._timeout = settings.task_timeout
        # Rows change without an announcement here, so each claim looks at all there is.
        self._queue = Queue(host, f"at_worker.testing/{uuid4().hex}", types, survey_interval=0.0)
        self._leases = Leases()
        self._settler = Settler(self._queue, self._leases, Tally())
        self._raised: list[BaseException] = []
        self._execution = Execution(
            {name: _Watched(executor, self._raised) for name, executor in known.items()},
            self._leases,
            self._settler,
            Destinations(1, None),
            default_delays=settings.retry_delays,
        )
        self._turns = 0

    def run(self) -> Iterator[Ran]:
        """Run one task after the other until none is due."""
        while (batch := self._claim()).size:
            for task in batch.tasks:
                self._attempt(task)
            for task_id in [*(task.id for task in batch.tasks), *(row.id for row in batch.expired)]:
                if row := look(self._host, task_id):
                    yield _ran(task_id, *row)

    def _claim(self) -> Batch:
        self._turns += 1
        return self._queue.claim(1, self._turns)

    def _attempt(self, task: Task) -> None:
        self._leases.take(task)
        started = time.monotonic()
        self._execution.carry_out(Running(task, started, started + self._timeout))
        while (pause := self._settler.turn()) is not None:
            self._execution.stopping.wait(pause)
        if self._raised:
            raise self._raised.pop()


def _ran(
    task_id: int, task_type: str, status: str, attempts: int, error: str | None, result: str | None
) -> Ran:
    return Ran(
        task_id,
        task_type,
        Status(status),
        attempts,
        error,
        None if result is None else jsontext.parse(result),
    )
