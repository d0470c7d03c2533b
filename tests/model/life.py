"""The life of a task, as the contract tells it: what each event makes of its row.

A specification to read first: no database and no clock. Instants and durations are whole hours.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, assert_never

from at_worker.jsontext import Json
from at_worker.outcome import Done, Fail, Retry, Status
from at_worker.task import Claim

Hour: TypeAlias = int

HOUR = 3600.0  # seconds
STUCK_TIMEOUT: Hour = 2
RETENTION: Hour = 3
RETRY_DELAYS: tuple[Hour, ...] = (1, 2)
FINISHED = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})
UNIQUE = frozenset({Status.PENDING, Status.PROCESSING, Status.COMPLETED})


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is kept of an attempt that did not succeed; a lost one ended when that was noticed."""

    number: int
    worker: str | None
    started_at: Hour | None
    ended_at: Hour
    outcome: Literal["retry", "failed", "lost"]
    error_message: str | None
    result: Json


@dataclass(frozen=True, slots=True)
class Row:
    """All of a row that ever changes, and the attempts that are kept beside it until it is deleted."""

    id: int = 0
    task_type: str = "a"
    priority: int = 5
    status: Status = Status.PENDING
    execute_at: Hour = 0
    original_execute_at: Hour | None = None
    expires_at: Hour | None = None
    updated_at: Hour = 0
    started_at: Hour | None = None
    completed_at: Hour | None = None
    attempts: int = 0
    max_attempts: int = 5
    retry_delays: tuple[Hour, ...] | None = None
    error_message: str | None = None
    result: Json = None
    dedupe_key: str | None = None
    locked_by: str | None = None
    claim_seq: int = 0
    history: tuple[Attempt, ...] = ()


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The worker gives a claim back: it is stopping, its threads are busy, or it held it too long."""


@dataclass(frozen=True, slots=True)
class TooLate:
    """The worker met `expires_at` between the claim and the start."""


@dataclass(frozen=True, slots=True)
class Postponed:
    """Flow control lets the task come back later, without an attempt."""

    wait: Hour


Ending: TypeAlias = Done | Retry | Fail | NotStarted | TooLate | Postponed


@dataclass(frozen=True, slots=True)
class Ran:
    """When an attempt ran."""

    started: Hour
    ended: Hour


# What is asked of a row.


def is_due(row: Row, now: Hour) -> bool:
    return row.status is Status.PENDING and row.execute_at <= now


def is_claimable(row: Row, horizon: Hour, paused: Collection[str]) -> bool:
    """Nobody starts a task of a paused type."""
    return is_due(row, horizon) and row.task_type not in paused


def is_expired(row: Row, now: Hour) -> bool:
    return row.expires_at is not None and row.expires_at <= now


def is_stuck(row: Row, now: Hour) -> bool:
    return row.status is Status.PROCESSING and now - row.updated_at >= STUCK_TIMEOUT


def is_old(row: Row, now: Hour) -> bool:
    """Retention deletes it; a failed row never."""
    return row.status in {Status.COMPLETED, Status.CANCELLED} and now - row.updated_at >= RETENTION


def is_live(claim: Claim, holder: str, row: Row | None) -> bool:
    """The fence: only the last claim of a row that is still processing may change it.

    The holder counts too: a database that forgets a claim gives its number out again.
    """
    return (
        row is not None
        and row.status is Status.PROCESSING
        and row.claim_seq == claim.seq
        and row.locked_by == holder
    )


def goes_first(row: Row, other: Row, now: Hour) -> bool:
    """Due rows go before coming ones, then by priority; within a type the earlier goes first."""
    if is_due(row, now) != is_due(other, now):
        return is_due(row, now)
    if row.priority != other.priority:
        return row.priority > other.priority
    return row.task_type == other.task_type and row.execute_at < other.execute_at


# What a claim makes of it.


def claimed(row: Row, now: Hour, holder: str) -> Row:
    if is_expired(row, now):
        return expired(row, now)
    return replace(
        row,
        status=Status.PROCESSING,
        claim_seq=row.claim_seq + 1,
        locked_by=holder,
        started_at=now,
        updated_at=now,
    )


def expired(row: Row, now: Hour) -> Row:
    """It was not started in time: by the claim that met it, or the cleaner. The real error is kept."""
    error = row.error_message
    if not row.attempts or error is None or error.startswith("expired"):
        error = "not started"
    return replace(row, status=Status.FAILED, error_message=f"expired: {error}", updated_at=now)


# What the holder of a live claim makes of it.


def beaten(row: Row, now: Hour) -> Row:
    return replace(row, updated_at=now)


def ended(row: Row, now: Hour, ending: Ending, ran: Ran) -> Row:
    match ending:
        case Done(result):
            return replace(
                _attempted(row, now, ran, None, result), status=Status.COMPLETED, completed_at=ran.ended
            )
        case Fail(reason, result):
            failed = replace(_attempted(row, now, ran, reason, result), status=Status.FAILED)
            return _kept(failed, "failed", ran.ended, result)
        case Retry(reason, after, result, _):
            wait = max(_backoff(row), round((after or 0) / HOUR))
            again = _again(_attempted(row, now, ran, reason, result), now, wait)
            return _kept(again, "retry" if again.status is Status.PENDING else "failed", ran.ended, result)
        case Postponed(wait):
            return _later(replace(row, error_message="postponed: full", updated_at=now), now + wait)
        case NotStarted():
            return replace(row, status=Status.PENDING, updated_at=now)
        case TooLate():
            return replace(
                row, status=Status.FAILED, error_message="expired: it could not start in time", updated_at=now
            )
        case _:
            assert_never(ending)


# What others make of it when its holder is dead, or seems to be.


def forgotten(row: Row, now: Hour) -> Row:
    """The commit of its claim is lost: the server crashed, or a standby goes on.

    No attempt is counted and none is kept. Whoever claims the row next gets the number of that claim; the
    same worker gets the very claim that it knows, and its task goes on under it.
    """
    return replace(row, status=Status.PENDING, claim_seq=row.claim_seq - 1, updated_at=now)


def lost(row: Row, now: Hour, reason: str) -> Row:
    """Due at once, but after its delay where the attempt before was lost as well."""
    lost_before = row.error_message is not None and row.error_message.startswith("lost:")
    wait = _backoff(row) if lost_before else 0
    counted = replace(row, attempts=row.attempts + 1, error_message=reason, updated_at=now)
    return _kept(_again(counted, now, wait), "lost", now, None)


# What people make of it.


def rescheduled(row: Row, now: Hour, execute_at: Hour) -> Row:
    return _by_hand(replace(row, execute_at=execute_at), row.status, now)


def given_status(row: Row, now: Hour, status: Status) -> Row:
    """Cancelled, run again, or done by hand."""
    return _by_hand(replace(row, status=status), row.status, now)


def is_key_taken(row: Row, others: Iterable[Row]) -> bool:
    """Two rows with one dedupe_key cannot both be on their way, or done."""
    return (
        row.dedupe_key is not None
        and row.status in UNIQUE
        and any(
            other.id != row.id and other.dedupe_key == row.dedupe_key and other.status in UNIQUE
            for other in others
        )
    )


def _by_hand(row: Row, before: Status, now: Hour) -> Row:
    completed_at = None
    if row.status is Status.COMPLETED:
        completed_at = now if row.completed_at is None else row.completed_at
    runs_again = before in FINISHED and row.status is Status.PENDING
    expires_at = None if runs_again and is_expired(row, now) else row.expires_at
    return replace(row, updated_at=now, completed_at=completed_at, expires_at=expires_at)


def _attempted(row: Row, now: Hour, ran: Ran, error: str | None, result: Json) -> Row:
    return replace(
        row,
        attempts=row.attempts + 1,
        error_message=error,
        result=row.result if result is None else result,
        started_at=ran.started,
        updated_at=now,
    )


def _kept(row: Row, outcome: Literal["retry", "failed", "lost"], ended: Hour, result: Json) -> Row:
    """With the attempt that it has just counted in its history, which never changes afterwards."""
    attempt = Attempt(row.attempts, row.locked_by, row.started_at, ended, outcome, row.error_message, result)
    return replace(row, history=(*row.history, attempt))


def _again(row: Row, now: Hour, wait: Hour) -> Row:
    """Another attempt after `wait`, if there is one left."""
    if row.attempts >= row.max_attempts:
        return replace(row, status=Status.FAILED)
    return _later(row, now + wait)


def _later(row: Row, execute_at: Hour) -> Row:
    """Due then, if that is not too late."""
    if row.expires_at is not None and execute_at >= row.expires_at:
        return replace(row, status=Status.FAILED, error_message=f"expired: {row.error_message}")
    return replace(
        row,
        status=Status.PENDING,
        execute_at=execute_at,
        original_execute_at=row.execute_at if row.original_execute_at is None else row.original_execute_at,
    )


def _backoff(row: Row) -> Hour:
    """The delay after the attempt that ends now: the first after attempt 1, the last repeats."""
    delays = row.retry_delays or RETRY_DELAYS
    return delays[min(row.attempts, len(delays) - 1)]
