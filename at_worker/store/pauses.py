"""Types whose tasks nobody starts just now."""

from dataclasses import dataclass
from datetime import datetime

from at_worker.store.session import Session

PAUSE = "SELECT {home}.at_pause(%(task_type)s, %(reason)s)"
RESUME = "SELECT {home}.at_resume(%(task_type)s)"

# Each lane is an index range that ends now, and is counted no further than a number that says enough.
PAUSED = """
SELECT p.task_type, p.paused_at, p.paused_by, p.reason, (
        SELECT least(sum(lane.due), %(most)s)::bigint FROM generate_series(0, 9) AS level
         CROSS JOIN LATERAL (
            SELECT count(*) AS due FROM (
                SELECT FROM {tasks} t
                 WHERE t.status = 'pending' AND t.task_type = p.task_type AND t.priority = level::smallint
                   AND t.execute_at <= now()
                 LIMIT %(most)s) AS first) AS lane)
  FROM {paused} p ORDER BY p.task_type
"""

KNOWN = """
SELECT EXISTS (SELECT FROM {tasks} t WHERE t.status = 'pending' AND t.task_type = %(task_type)s)
    OR EXISTS (SELECT FROM {presence} p WHERE %(task_type)s = ANY (p.task_types))
"""

MOST_DUE = 10_000


@dataclass(frozen=True, slots=True)
class Paused:
    """A paused type; `due` is how many of its tasks wait for nothing else, MOST_DUE at most."""

    task_type: str
    paused_at: datetime
    paused_by: str
    reason: str | None
    due: int


def pause(session: Session, task_type: str, reason: str | None) -> bool:
    """Pause a type; whether it was not yet."""
    with session.transaction():
        changed: bool = session.rows(PAUSE, {"task_type": task_type, "reason": reason})[0][0]
    return changed


def resume(session: Session, task_type: str) -> bool:
    """Let the tasks of a type start again; whether it was paused."""
    with session.transaction():
        changed: bool = session.rows(RESUME, {"task_type": task_type})[0][0]
    return changed


def paused(session: Session) -> list[Paused]:
    """The paused types, by name."""
    return [Paused(*row) for row in session.rows(PAUSED, {"most": MOST_DUE})]


def is_known(session: Session, task_type: str) -> bool:
    """Whether a pending task has that type, or a worker runs it."""
    found: bool = session.rows(KNOWN, {"task_type": task_type})[0][0]
    return found
