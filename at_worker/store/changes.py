"""What people do to tasks, by the functions of sql/ddl.sql: schedule, take back, move, run again."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from at_worker import jsontext
from at_worker.jsontext import Json
from at_worker.store.errors import Refused
from at_worker.store.session import Session

SCHEDULE = """
SELECT {home}.at_schedule(%(task_type)s, %(payload)s::jsonb, %(execute_at)s::timestamptz, %(options)s::jsonb)
"""
HOLDER = "SELECT {home}.scheduled_tasks_holder(%(key)s)"

# The status is that before the change. A row that another session changes just now is told as it was.
CANCEL = "SELECT t.status, {home}.at_cancel(t.id) FROM {tasks} t WHERE t.id = %(id)s"
RETRY = "SELECT t.status, {home}.at_retry(t.id) FROM {tasks} t WHERE t.id = %(id)s"
RESCHEDULE = """
SELECT t.status, {home}.at_reschedule(t.id, %(execute_at)s::timestamptz) FROM {tasks} t WHERE t.id = %(id)s
"""


@dataclass(frozen=True, slots=True)
class Order:
    """What to schedule; `options` are those of at_schedule."""

    task_type: str
    payload: Json
    execute_at: datetime
    options: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a wish: the status that the task had, and whether it was changed."""

    status: str
    done: bool


def schedule(session: Session, order: Order) -> int:
    """Insert a task and return its id. Raises Refused."""
    parameters = {
        "task_type": order.task_type,
        "payload": jsontext.render(order.payload),
        "execute_at": order.execute_at,
        "options": jsontext.render(order.options),
    }
    with session.transaction():
        task: int = session.rows(SCHEDULE, parameters)[0][0]
    return task


def holder(session: Session, key: str) -> int | None:
    """The id of the task that has a dedupe_key."""
    task: int | None = session.rows(HOLDER, {"key": key})[0][0]
    return task


def cancel(session: Session, task: int) -> Change | None:
    """Take a pending or processing task back; None: there is no such task."""
    return _change(session, CANCEL, {"id": task})


def retry(session: Session, task: int) -> Change | None:
    """Run a failed or cancelled task again now. Raises Refused where its dedupe_key is taken."""
    try:
        return _change(session, RETRY, {"id": task})
    except Refused as error:
        if "scheduled_tasks_dedupe_key" in str(error):
            raise Refused("its dedupe_key has been used again meanwhile") from None
        raise


def reschedule(session: Session, task: int, execute_at: datetime) -> Change | None:
    """Move a pending task."""
    return _change(session, RESCHEDULE, {"id": task, "execute_at": execute_at})


def _change(session: Session, query: LiteralString, parameters: Mapping[str, object]) -> Change | None:
    with session.transaction():
        rows = session.rows(query, parameters)
    return Change(*rows[0]) if rows else None
