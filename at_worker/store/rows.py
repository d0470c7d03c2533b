"""What the statements about tasks have in common: the columns of a Task and the text of an expiry."""

from datetime import UTC, datetime
from math import inf
from typing import NamedTuple

from at_worker.store.session import Row
from at_worker.task import Claim, Task

EXPIRED = """
        CASE WHEN t.attempts > 0 AND t.error_message NOT LIKE 'expired%%'
             THEN left('expired: ' || t.error_message, 4096)
             ELSE 'expired: not started by '
                  || to_char(t.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"') END"""

# Clamped to a hundred years, so that adding one to a date cannot overflow. Of date_part() and extract() the
# former does not take the way through numeric.
TASK = """
        t.id, t.claim_seq, t.task_uid::text, t.task_type, t.priority,
        t.payload::text, t.context::text, t.result::text,
        date_part('epoch', t.original_execute_at), date_part('epoch', t.execute_at),
        date_part('epoch', t.expires_at),
        t.attempts, t.max_attempts,
        CASE WHEN t.retry_delays IS NOT NULL THEN
            ARRAY(SELECT least(greatest(date_part('epoch', d.delay), 0), 3.15e9)
                    FROM unnest(t.retry_delays) WITH ORDINALITY AS d (delay, nth) ORDER BY d.nth) END"""
TASK_WIDTH = 14
ID, TYPE, PRIORITY, DUE, _ATTEMPTS = 0, 3, 4, 9, 11


class Expired(NamedTuple):
    """A row that ended because its `expires_at` passed; `attempt` is the one that it did not get."""

    id: int
    type: str
    attempt: int


def task(row: Row, shift: float, claimed: float, look_ahead: float = inf) -> Task:
    """Build a Task from the columns of TASK; `claimed` is the monotonic instant of the reply.

    `shift` leads from the database's clock to the monotonic one.

    No claim brings what is due later than its look-ahead: a clock that was set back while it ran says so.
    """
    (task_id, seq, uid, kind, priority, payload, context, result, original, due, expires) = row[:_ATTEMPTS]
    attempts, max_attempts, retry_delays = row[_ATTEMPTS:]
    instant = min(due + shift, claimed + look_ahead)
    return Task(
        Claim(task_id, seq),
        uid,
        kind,
        priority,
        payload,
        context,
        result,
        datetime.fromtimestamp(due if original is None else original, UTC),
        attempts,
        max_attempts,
        tuple(retry_delays) if retry_delays else (),
        None if expires is None else expires + shift,
        instant,
        max(instant, claimed),
    )


def expired(row: Row) -> Expired:
    """What is told of a row that expired, from the columns of TASK."""
    (task_id, _, _, kind, *_), attempts = row, row[_ATTEMPTS]
    return Expired(task_id, kind, attempts + 1)
