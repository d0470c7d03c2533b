"""Everything about one task: its row, and the attempts that did not succeed."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from at_worker.store.listing import may_read
from at_worker.store.session import Session

_ROW = """
SELECT t.id, t.task_type, t.status, t.priority, t.execute_at, t.original_execute_at, t.expires_at, t.attempts,
       t.max_attempts, t.retry_delays, t.error_message, t.created_at, t.updated_at, t.started_at,
       t.completed_at, t.locked_by, t.claim_seq, t.task_uid::text, {carried}
  FROM {tasks} t WHERE t.id = %(id)s
"""
# As texts: no JSON of a row keeps a person from seeing it.
ROW = _ROW.replace("{carried}", "t.dedupe_key, t.payload::text, t.context::text, t.result::text")
# For a role that may not see what tasks carry.
ROW_BARE = _ROW.replace("{carried}", "NULL, NULL, NULL, NULL")

_ATTEMPTS = """
SELECT a.attempt, a.worker, a.started_at, a.ended_at, a.outcome, a.error_message, {result}
  FROM {attempts} a WHERE a.task_id = %(id)s ORDER BY a.ended_at, a.attempt
"""
ATTEMPTS = _ATTEMPTS.replace("{result}", "a.result::text")
ATTEMPTS_BARE = _ATTEMPTS.replace("{result}", "NULL")


@dataclass(frozen=True, slots=True)
class Details:
    """All columns of a row; `payload`, `context` and `result` are JSON texts.

    These and `dedupe_key` are None where the role may not see them.
    """

    id: int
    task_type: str
    status: str
    priority: int
    execute_at: datetime
    original_execute_at: datetime | None
    expires_at: datetime | None
    attempts: int
    max_attempts: int
    retry_delays: list[timedelta] | None
    error_message: str | None
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    locked_by: str | None
    claim_seq: int
    task_uid: str
    dedupe_key: str | None
    payload: str | None
    context: str | None
    result: str | None


@dataclass(frozen=True, slots=True)
class PastAttempt:
    """An attempt that did not succeed; `outcome` is retry, failed or lost, `result` a JSON text."""

    attempt: int
    worker: str | None
    started_at: datetime | None
    ended_at: datetime
    outcome: str
    error_message: str | None
    result: str | None


def details(session: Session, task: int) -> Details | None:
    """The row of a task, as far as the role may see it; None where there is none."""
    query = ROW if may_read(session) else ROW_BARE
    rows = session.rows(query, {"id": task})
    return Details(*rows[0]) if rows else None


def past_attempts(session: Session, task: int) -> list[PastAttempt]:
    """The attempts that did not succeed, the oldest first."""
    query = ATTEMPTS if may_read(session) else ATTEMPTS_BARE
    return [PastAttempt(*row) for row in session.rows(query, {"id": task})]
