"""How an attempt ends: what executors return, and what is written for it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeAlias, assert_never

from at_worker import jsontext, redact, text
from at_worker.jsontext import Json
from at_worker.retry import LONGEST_RETRY_AFTER, backoff
from at_worker.task import Claim, Task


@dataclass(frozen=True, slots=True)
class Done:
    """The attempt succeeded; `result` is what came back."""

    result: Json = None


@dataclass(frozen=True, slots=True)
class Retry:
    """A failure that may pass; `after` asks for at least so many seconds until the next attempt.

    A `result` of None leaves what an earlier attempt reported in the row. `unreachable` tells that no
    connection to the task's destination came about: after some of these in a row its tasks are postponed.
    """

    reason: str
    after: float | None = None
    result: Json = None
    unreachable: bool = False


@dataclass(frozen=True, slots=True)
class Fail:
    """A failure that no further attempt can mend."""

    reason: str
    result: Json = None


Outcome: TypeAlias = Done | Retry | Fail


class Status(StrEnum):
    """The values of the column `status`."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Settlement(NamedTuple):
    """What is written when a claim ends; `started` and `ended` are monotonic instants in seconds.

    `attempted` is False where the executor never ran: the attempt is not counted and the row's last error
    stays. `delay` moves `execute_at` to so many seconds from now; None leaves it.
    """

    task: Task
    status: Status
    attempted: bool = True
    delay: float | None = None
    error: str | None = None
    result: str | None = None
    started: float | None = None
    ended: float | None = None

    @property
    def claim(self) -> Claim:
        return self.task.claim


class Run(NamedTuple):
    """When an attempt ran, in monotonic seconds."""

    started: float
    ended: float


def resolve(
    task: Task, outcome: Outcome, *, now: float, run: Run | None, default_delays: Sequence[float]
) -> Settlement:
    """Decide what is written for an attempt that ended with `outcome`.

    `run` is None where nobody knows when the attempt ran: its worker is dead.
    """
    match outcome:
        case Done(result):
            return _settlement(task, Status.COMPLETED, run, result=result)
        case Fail(reason, result):
            return _settlement(task, Status.FAILED, run, error=reason, result=result)
        case Retry(reason, after, result, _):
            wait = max(_backoff(task, default_delays), min(after or 0.0, LONGEST_RETRY_AFTER))
            return _retry(task, reason, wait, now=now, run=run, result=result)
        case _:
            assert_never(outcome)


def resolve_lost(
    task: Task, reason: str, *, again: bool, now: float, default_delays: Sequence[float]
) -> Settlement:
    """Decide what becomes of a task whose worker died: due at once, unless it was lost before (`again`).

    The wait from the second time on parts a task that kills its worker from the neighbours it takes along.
    """
    wait = _backoff(task, default_delays) if again else 0.0
    return _retry(task, reason, wait, now=now)


def hand_back(task: Task) -> Settlement:
    """Give a task back that was claimed and never started; it stays due."""
    return Settlement(task, Status.PENDING, attempted=False)


def postpone(task: Task, seconds: float, why: str, *, now: float) -> Settlement:
    """Let a task come back in so many seconds, without an attempt."""
    reason = f"postponed: {why}"
    if task.expires is not None and now + seconds >= task.expires:
        return Settlement(task, Status.FAILED, attempted=False, error=_written(f"expired: {reason}"))
    return Settlement(task, Status.PENDING, attempted=False, delay=seconds, error=_written(reason))


def expire(task: Task) -> Settlement:
    """End a task whose `expires_at` passed before it could start."""
    return Settlement(task, Status.FAILED, attempted=False, error="expired: it could not start in time")


def _backoff(task: Task, default_delays: Sequence[float]) -> float:
    chance = random.random()  # noqa: S311 - spreads retries, guards no secret
    return backoff(task.attempt + 1, task.retry_delays or default_delays, chance)


def _retry(
    task: Task, reason: str, wait: float, *, now: float, run: Run | None = None, result: Json = None
) -> Settlement:
    if task.attempt >= task.max_attempts:
        return _settlement(task, Status.FAILED, run, error=reason, result=result)
    if task.expires is not None and now + wait >= task.expires:
        return _settlement(task, Status.FAILED, run, error=f"expired: {reason}", result=result)
    return _settlement(task, Status.PENDING, run, error=reason, result=result, delay=wait)


def _settlement(
    task: Task,
    status: Status,
    run: Run | None,
    *,
    error: str | None = None,
    result: Json = None,
    delay: float | None = None,
) -> Settlement:
    return Settlement(
        task,
        status,
        True,
        delay,
        None if error is None else _written(error),
        None if result is None else _rendered(result),
        run.started if run else None,
        run.ended if run else None,
    )


def _written(error: object) -> str:
    return text.clip(text.clean(redact.text(str(error))))


def _rendered(result: Json) -> str:
    try:
        return text.clean_json(jsontext.render(redact.result(result)))
    except Exception:  # noqa: BLE001 - a plug-in may return anything; what it did is done all the same
        return jsontext.render(f"a {type(result).__name__} that is not JSON")
