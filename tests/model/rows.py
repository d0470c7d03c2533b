"""Rows of the model as they stand in the table, and time that passes for them by ageing.

An instant counts as the hour in which it lies, told from now. So the moments that a test really takes
change nothing, and no instant of the table is compared with a clock of this process.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from at_worker import jsontext
from at_worker.outcome import Status
from at_worker.task import Task
from tests.model.life import HOUR, Attempt, Hour, Row
from tests.tables import Table

# Half past: no retry, whatever its jitter, comes close to the instant of expiry.
HALF = 0.5
# A delay is drawn out by up to a fifth; drawn out, this part of an hour still lies in the same hour.
UNJITTERED = 0.8

READ = "SELECT *, now() AS now FROM scheduled_tasks"
READ_ATTEMPTS = "SELECT * FROM scheduled_tasks_attempts ORDER BY task_id, attempt"

INSERT = """
INSERT INTO scheduled_tasks (task_type, priority, status, attempts, max_attempts, error_message, dedupe_key,
                             retry_delays, result, execute_at, updated_at, completed_at, expires_at)
VALUES (%(task_type)s, %(priority)s, %(status)s, %(attempts)s, %(max_attempts)s, %(error_message)s,
        %(dedupe_key)s, %(retry_delays)s, %(result)s,
        now() + %(execute_at)s * interval '1 hour', now() + %(updated_at)s * interval '1 hour',
        now() + %(completed_at)s::int * interval '1 hour', now() + %(expires_at)s::float8 * interval '1 hour')
ON CONFLICT DO NOTHING RETURNING id
"""

AGE = """
UPDATE scheduled_tasks
   SET execute_at = execute_at - %(hours)s * interval '1 hour',
       original_execute_at = original_execute_at - %(hours)s * interval '1 hour',
       expires_at = expires_at - %(hours)s * interval '1 hour',
       created_at = created_at - %(hours)s * interval '1 hour',
       updated_at = updated_at - %(hours)s * interval '1 hour',
       started_at = started_at - %(hours)s * interval '1 hour',
       completed_at = completed_at - %(hours)s * interval '1 hour'
"""
AGE_ATTEMPTS = """
UPDATE scheduled_tasks_attempts
   SET started_at = started_at - %(hours)s * interval '1 hour',
       ended_at = ended_at - %(hours)s * interval '1 hour'
"""


def insert(table: Table, row: Row, now: Hour) -> Row | None:
    """Insert a row; None where its dedupe_key is taken."""
    found = table.sql(
        INSERT,
        task_type=row.task_type,
        priority=row.priority,
        status=row.status,
        attempts=row.attempts,
        max_attempts=row.max_attempts,
        error_message=row.error_message,
        dedupe_key=row.dedupe_key,
        retry_delays=None if row.retry_delays is None else [delay(hours) for hours in row.retry_delays],
        result=None if row.result is None else Jsonb(row.result, dumps=jsontext.render),
        execute_at=row.execute_at - now,
        updated_at=row.updated_at - now,
        completed_at=None if row.completed_at is None else row.completed_at - now,
        expires_at=None if row.expires_at is None else row.expires_at - now - HALF,
    )
    return replace(row, id=found[0]["id"]) if found else None


def delay(hours: Hour) -> timedelta:
    """What to ask for, so that the wait ends within this hour."""
    return timedelta(hours=hours * UNJITTERED)


def look(table: Table) -> dict[int, DictRow]:
    """All rows by id, each with its attempts as `history`."""
    seen: dict[int, DictRow] = {row["id"]: {**row, "history": []} for row in table.sql(READ)}
    for attempt in table.sql(READ_ATTEMPTS):
        assert attempt["task_id"] in seen, f"the task of {attempt} is gone"
        seen[attempt["task_id"]]["history"].append(attempt)
    return seen


def read(seen: DictRow, now: Hour) -> Row:
    """The row of the model that one of the table stands for."""

    def hour(instant: datetime | None) -> Hour | None:
        return None if instant is None else now + _hours(instant - seen["now"])

    return Row(
        id=seen["id"],
        task_type=seen["task_type"],
        priority=seen["priority"],
        status=Status(seen["status"]),
        execute_at=hour(seen["execute_at"]) or 0,
        original_execute_at=hour(seen["original_execute_at"]),
        expires_at=hour(seen["expires_at"]),
        updated_at=hour(seen["updated_at"]) or 0,
        started_at=hour(seen["started_at"]),
        completed_at=hour(seen["completed_at"]),
        attempts=seen["attempts"],
        max_attempts=seen["max_attempts"],
        retry_delays=None if seen["retry_delays"] is None else tuple(map(_hours, seen["retry_delays"])),
        error_message=_error(seen),
        result=seen["result"],
        dedupe_key=seen["dedupe_key"],
        locked_by=seen["locked_by"],
        claim_seq=seen["claim_seq"],
        history=tuple(
            Attempt(
                number=attempt["attempt"],
                worker=attempt["worker"],
                started_at=hour(attempt["started_at"]),
                ended_at=hour(attempt["ended_at"]) or 0,
                outcome=attempt["outcome"],
                error_message=_error(attempt),
                result=attempt["result"],
            )
            for attempt in seen["history"]
        ),
    )


def age(table: Table, hours: Hour) -> None:
    """Let time pass for all rows."""
    table.sql(AGE, hours=hours)
    table.sql(AGE_ATTEMPTS, hours=hours)


def aged(task: Task, hours: Hour) -> Task:
    """Let it pass for a task in the hands of a worker."""
    seconds = hours * HOUR
    return task._replace(
        instant=task.instant - seconds,
        due=task.due - seconds,
        expires=None if task.expires is None else task.expires - seconds,
    )


def _error(seen: DictRow) -> str | None:
    """Without the instant of expiry, which is at the end."""
    error: str | None = seen["error_message"]
    return None if error is None else error.partition(" by ")[0]


def _hours(duration: timedelta) -> Hour:
    return -(-duration // timedelta(hours=1))
