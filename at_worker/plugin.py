"""The contract between the engine and what carries a task out, built in or plugged in."""

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from at_worker.jsontext import Json
from at_worker.outcome import Outcome

_NO_TRACE: Mapping[str, str] = MappingProxyType({})


class InvalidPayload(ValueError):
    """A payload that cannot be carried out: names the field and says why."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"invalid payload: {field}: {why}")
        self.field = field
        self.why = why


class MissingSetting(Exception):
    """A payload names what the settings of this worker lack, so that it may yet be carried out: a Retry."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"missing setting: {field}: {why}")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at one task, as its executor sees it.

    `task_uid` is the same on every attempt, for receivers to tell a repetition by; `number` counts from 1.
    `deadline` is an instant of `time.monotonic()`: the executor has ended by then. `stopping` is set when
    the worker is shutting down. `previous` is the `result` that earlier attempts left in the row.
    """

    task_id: int
    task_uid: str
    number: int
    scheduled_at: datetime
    context: Mapping[str, Json]
    previous: Json
    deadline: float
    stopping: threading.Event

    @property
    def trace(self) -> Mapping[str, str]:
        """The headers that carry a trace of OpenTelemetry on; there are none where tracing is off."""
        return _NO_TRACE


@dataclass(frozen=True, slots=True)
class TracedAttempt(Attempt):
    """An attempt within a trace; a class of its own, for a field costs each attempt, traced or not."""

    carried: Mapping[str, str]

    @property
    def trace(self) -> Mapping[str, str]:
        return self.carried


P = TypeVar("P")


class Executor(Protocol[P]):
    """Carries out the tasks of one type. One instance serves all threads of a worker.

    It may have two more methods. `destination(payload: P) -> str | None` names where the task goes (a host, a
    server) as people would: what is slow or cannot be reached then does not hold up the others.
    `describe(payload: P, attempt: Attempt) -> str` is the text of what `execute` would send, without secrets.
    """

    def parse(self, payload: Json) -> P:
        """Check a payload, without side effects. Raises InvalidPayload or MissingSetting."""

    def execute(self, payload: P, attempt: Attempt) -> Outcome | Future[Outcome]:
        """Do the work. An exception counts as a failure that may pass.

        A Future says that the work goes on elsewhere, such as in an event loop: the thread is free for other
        tasks, while this one counts as running until the Future is done.
        """

    def close(self) -> None:
        """Let go of connections; called once, after the last attempt."""


AnyExecutor = Executor[Any]
