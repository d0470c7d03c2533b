"""Why a task has run, runs, or has not run yet: from the facts to one sentence, without a database."""

from datetime import datetime
from typing import assert_never

from at_worker.cli import clock
from at_worker.durations import spoken
from at_worker.outcome import Status
from at_worker.store.circumstances import MOST_AHEAD, Facts
from at_worker.text import clip

_LONGEST_CAUSE = 300
_POSTPONED = "postponed: "
# Heartbeats come every fifth of the stuck timeout, 10 s at most; a worker that missed three has a problem.
_BEATS_IN_TIMEOUT = 5
_LONGEST_BEAT = 10.0
_MISSED = 3


def sentence(facts: Facts, stuck_timeout: float) -> str:
    """One sentence; `stuck_timeout` is that of the workers, in seconds."""
    status = Status(facts.status)
    match status:
        case Status.PENDING:
            told = _pending(facts)
        case Status.PROCESSING:
            told = _processing(facts, stuck_timeout)
        case Status.COMPLETED:
            told = _completed(facts)
        case Status.FAILED:
            told = _failed(facts)
        case Status.CANCELLED:
            told = f"was cancelled {_at(facts.updated_at)}{_after_attempts(facts)}"
        case _:
            assert_never(status)
    return f"Task {facts.id} {told}."


def _pending(facts: Facts) -> str:
    if facts.expires_at is not None and facts.expires_at <= facts.now:
        return f"expired {_at(facts.expires_at)}: a worker that meets it marks it as failed"
    waits = facts.execute_at > facts.now
    told = _not_due(facts) if waits else f"has been due for {_since(facts, facts.execute_at)}"
    if facts.paused_at is not None:
        why = f": {_cause(facts.paused_why)}" if facts.paused_why else ""
        paused = (
            f"{facts.task_type} has been paused by {facts.paused_by} since {clock.short(facts.paused_at)}"
        )
        return f"{told}, and {paused}{why}"
    if not facts.workers:
        return f"{told}, but no worker is alive"
    if not facts.takers:
        return f"{told}, but none of the workers that are alive ({facts.workers}) runs {facts.task_type}"
    return told if waits else f"{told}{_in_line(facts)}"


def _not_due(facts: Facts) -> str:
    when = f"{clock.short(facts.execute_at)}, in {_until(facts, facts.execute_at)}"
    error = facts.error_message or ""
    if error.startswith(_POSTPONED):
        return f"is postponed until {when}: {_cause(error.removeprefix(_POSTPONED))}"
    if facts.attempts:
        attempt = f"attempt {facts.attempts + 1} of {facts.max_attempts}"
        return f"waits for {attempt} until {when}: {_cause(error)}"
    return f"is not due until {when}"


def _in_line(facts: Facts) -> str:
    locker = facts.locker
    if locker is not None:
        user = f" of {locker.user}" if locker.user else ""
        application = f" ({locker.application})" if locker.application else ""
        since = f" since {clock.short(locker.since)}" if locker.since else ""
        session = f"PostgreSQL process {locker.pid}{user}{application}"
        return f", but {session} holds a lock on it{since}: workers pass it over"
    least = "at least " if facts.ahead >= MOST_AHEAD else ""
    behind = f", behind {least}{_count(facts.ahead, 'due task')}" if facts.ahead else ""
    if facts.busy:
        return f"{behind}: {_busy(facts.busy, facts.takers)}"
    workers = f"{_count(facts.takers, 'worker')} for {facts.task_type}"
    if behind:
        return f"{behind}, with {_count(facts.running, 'task')} running on {workers}"
    if facts.running:
        return f" and is next, with {_count(facts.running, 'task')} running on {workers}"
    return f" and is next at {workers}"


def _busy(threads: int, workers: int) -> str:
    all_of = "the only thread" if threads == 1 else f"all {threads:,} threads"
    of = "the worker that takes" if workers == 1 else f"the {workers:,} workers that take"
    return f"{all_of} of {of} its type {'is' if threads == 1 else 'are'} busy"


def _processing(facts: Facts, stuck_timeout: float) -> str:
    worker = facts.locked_by or "an unknown worker"
    silence = (facts.now - facts.updated_at).total_seconds()
    began = facts.started_at or facts.updated_at
    attempt = f"attempt {facts.attempts + 1} of {facts.max_attempts}"
    if silence <= _MISSED * min(stuck_timeout / _BEATS_IN_TIMEOUT, _LONGEST_BEAT):
        return (
            f"runs on {worker} for {_since(facts, began)}, {attempt}, with a heartbeat {spoken(silence)} ago"
        )
    stuck = f"is stuck: {worker}, which claimed it {_at(began)}, has given no heartbeat for {spoken(silence)}"
    if not facts.workers:
        return f"{stuck}, and no worker is alive to take it over"
    if silence < stuck_timeout:
        return f"{stuck}; another worker takes it over in {spoken(stuck_timeout - silence)}"
    return f"{stuck}; another worker is about to take it over"


def _completed(facts: Facts) -> str:
    ended = facts.completed_at or facts.updated_at
    told = f"was completed {_at(ended)}"
    if facts.started_at is None or facts.locked_by is None:
        return told  # by hand
    late = (facts.started_at - facts.execute_at).total_seconds()
    took = (ended - facts.started_at).total_seconds()
    tries = f", attempt {facts.attempts} of {facts.max_attempts}" if facts.attempts > 1 else ""
    return f"{told} by {facts.locked_by}{tries}: it started {spoken(late)} late and took {spoken(took)}"


def _failed(facts: Facts) -> str:
    error = facts.error_message or "nobody noted why"
    if error.startswith("expired"):
        return f"failed {_at(facts.updated_at)}{_after_attempts(facts)}, since it {_cause(error)}"
    return f"failed {_at(facts.updated_at)}{_after_attempts(facts)}: {_cause(error)}"


def _after_attempts(facts: Facts) -> str:
    if not facts.attempts:
        return " without an attempt"
    return f" after {facts.attempts} of {facts.max_attempts} attempts"


def _cause(error: str) -> str:
    return clip(" ".join(error.split()), _LONGEST_CAUSE).removesuffix(".") or "nobody noted why"


def _at(moment: datetime) -> str:
    return f"at {clock.short(moment)}"


def _since(facts: Facts, moment: datetime) -> str:
    return spoken((facts.now - moment).total_seconds())


def _until(facts: Facts, moment: datetime) -> str:
    return spoken((moment - facts.now).total_seconds())


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
