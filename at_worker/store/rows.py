"""What the statements about tasks have in common: the columns of a Task and the text of an expiry."""

from datetime import UTC, datetime

from at_worker.store.database import Row
from at_worker.task import Claim, Task

EXPIRED = """
        CASE WHEN t.attempts > 0 AND t.error_message NOT LIKE 'expired%%'
             THEN left('expired: ' || t.error_message, 4096)
             ELSE 'expired: not started by '
                  || to_char(t.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"') END"""

# Clamped to a hundred years, so that adding one to a date cannot overflow.
TASK = """
        t.id, t.claim_seq, t.task_uid::text, t.task_type, t.payload::text, t.context::text, t.result::text,
        extract(epoch FROM coalesce(t.original_execute_at, t.execute_at))::float8,
        t.attempts, t.max_attempts,
        CASE WHEN t.retry_delays IS NOT NULL THEN
            ARRAY(SELECT least(greatest(extract(epoch FROM d.delay), 0), 3.15e9)::float8
                    FROM unnest(t.retry_delays) WITH ORDINALITY AS d (delay, nth) ORDER BY d.nth) END,
        extract(epoch FROM t.expires_at - now())::float8"""


def task(row: Row, claimed: float) -> Task:
    """Build a Task from the columns of TASK; `claimed` is the monotonic instant of the reply."""
    expires_in = row[11]
    return Task(
        claim=Claim(row[0], row[1]),
        uid=row[2],
        type=row[3],
        payload=row[4],
        context=row[5],
        result=row[6],
        scheduled_at=datetime.fromtimestamp(row[7], UTC),
        attempts=row[8],
        max_attempts=row[9],
        retry_delays=tuple(row[10] or ()),
        expires=None if expires_in is None else claimed + expires_in,
        claimed=claimed,
    )
