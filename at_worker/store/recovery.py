"""What becomes of rows that nobody looks after: lost, expired, old. The statements of the cleaner."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import LiteralString

from at_worker.store.clock import Clock
from at_worker.store.database import Database
from at_worker.store.quarantine import Choosing, Quarantine
from at_worker.store.rows import EXPIRED, TASK, TASK_WIDTH, Expired, task
from at_worker.store.session import Parameters, Session
from at_worker.task import Task


@dataclass(frozen=True, slots=True)
class Stuck:
    """A task whose heartbeat stopped `silence` seconds ago; `lost_before`: so did its last one."""

    task: Task
    locked_by: str | None
    silence: float
    lost_before: bool


LOST = """
        {task},
        date_part('epoch', clock_timestamp()), t.locked_by,
        date_part('epoch', now() - t.updated_at),
        coalesce(t.error_message LIKE 'lost:%%', false)""".replace("{task}", TASK)

STUCK = """
SELECT {lost}
  FROM {tasks} t
 WHERE t.status = 'processing' AND t.id > %(after)s
   AND t.updated_at < now() - %(timeout)s * interval '1 second'
   AND (%(types)s::text[] IS NULL OR t.task_type = ANY (%(types)s::text[]))
 ORDER BY t.id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
""".replace("{lost}", LOST)

# The holder's name carries the boot id, so that the fence is as good as claim_seq.
HELD_BY = """
SELECT {lost}
  FROM {tasks} t
 WHERE t.status = 'processing' AND t.locked_by = %(holder)s
 ORDER BY t.id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
""".replace("{lost}", LOST)

NEXT_STUCK = """
SELECT date_part('epoch', min(t.updated_at) - now()) + %(timeout)s
  FROM {tasks} t
 WHERE t.status = 'processing' AND (%(types)s::text[] IS NULL OR t.task_type = ANY (%(types)s::text[]))
"""

EXPIRE = Choosing.of(
    """
    SELECT u.id FROM {tasks} u
     WHERE u.status = 'pending' AND u.expires_at <= now()
       AND (%(types)s::text[] IS NULL OR u.task_type = ANY (%(types)s::text[]))
       AND u.id <> ALL (%(refused)s::bigint[])
     ORDER BY u.expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    """,
    """
    UPDATE {tasks} t SET status = 'failed', updated_at = now(), error_message = {expired}
     WHERE t.id = ANY ({ids})
    RETURNING t.id, t.task_type, t.attempts + 1
    """.replace("{expired}", EXPIRED),
)

# What needs no further look; failed rows stay until somebody has had one.
DONE = ("completed", "cancelled")

# Walks the primary key, a stretch at a time: an index on the time of completion would cost every task.
_OLD = """
stretch AS MATERIALIZED (
    SELECT t.id, t.status, t.updated_at, t.task_type FROM {tasks} t
     WHERE t.id > %(after)s ORDER BY t.id LIMIT %(limit)s
), old AS MATERIALIZED (
    SELECT t.id FROM {tasks} t
     WHERE t.id = ANY (ARRAY(
            SELECT s.id FROM stretch s
             WHERE s.status = ANY (%(statuses)s::text[])
               AND s.updated_at < now() - %(retention)s * interval '1 second'
               AND (%(types)s::text[] IS NULL OR s.task_type = ANY (%(types)s::text[]))
               AND s.id <> ALL (%(refused)s::bigint[])))
       AND t.status = ANY (%(statuses)s::text[])
     ORDER BY t.id FOR UPDATE SKIP LOCKED
)"""

DELETE_OLD = Choosing(
    whole="""
    WITH {old}, deleted AS (
        DELETE FROM {tasks} t WHERE t.id = ANY (ARRAY(SELECT id FROM old)) RETURNING t.id
    )
    SELECT (SELECT max(id) FROM stretch), (SELECT count(*) FROM deleted)
    """.replace("{old}", _OLD),
    choice="WITH {old} SELECT id FROM old".replace("{old}", _OLD),
    change="DELETE FROM {tasks} t WHERE t.id = ANY (%(ids)s::bigint[]) RETURNING t.id",
)


class Recovery:
    """The statements of one cleaner; `types` of None means every type, `timeout` is in seconds."""

    def __init__(self, database: Database, timeout: float, types: Sequence[str] | None) -> None:
        self._database = database
        self._expiries = Quarantine(database, "expiry")
        self._deletions = Quarantine(database, "deletion")
        self._clock = Clock()
        self._scope = {"timeout": timeout, "types": None if types is None else list(types)}

    @contextmanager
    def stuck(self, after: int, limit: int) -> Iterator[tuple[Session, list[Stuck]]]:
        """Hold stuck tasks from id `after` on locked: the caller settles them in the same transaction."""
        with self._database.session() as session, session.transaction():
            yield session, self._found(session, STUCK, {**self._scope, "after": after, "limit": limit})

    @contextmanager
    def held_by(self, holder: str, limit: int) -> Iterator[tuple[Session, list[Stuck]]]:
        """The same for the claims of a dead worker, of whatever type; on a connection made for it."""
        with self._database.direct() as session, session.transaction():
            yield session, self._found(session, HELD_BY, {"holder": holder, "limit": limit})

    def _found(self, session: Session, statement: LiteralString, parameters: Parameters) -> list[Stuck]:
        asked = time.monotonic()
        rows = session.rows(statement, parameters)
        now = time.monotonic()
        if rows:
            self._clock.observe(asked, rows[0][TASK_WIDTH], now)
        shift = self._clock.shift
        return [Stuck(task(row[:TASK_WIDTH], shift, now), *row[TASK_WIDTH + 1 :]) for row in rows]

    def next_stuck(self) -> float | None:
        """Seconds until the oldest heartbeat of all claimed tasks runs out, or None where there are none."""
        with self._database.session() as session:
            seconds: float | None = session.rows(NEXT_STUCK, self._scope)[0][0]
        return seconds

    def expire(self, limit: int) -> list[Expired]:
        """Fail pending rows whose `expires_at` passed, and return them."""
        return [Expired(*row) for row in self._expiries.rows(EXPIRE, {**self._scope, "limit": limit})]

    def delete_old(
        self, retention: float, after: int, limit: int, statuses: Sequence[str] = DONE
    ) -> tuple[int | None, int]:
        """Look at `limit` rows from id `after` on and delete what ended more than `retention` seconds ago.

        Returns the last id looked at (None at the end of the table) and how many were deleted.
        """
        ((last, deleted),) = self._deletions.rows(
            DELETE_OLD,
            {
                **self._scope,
                "retention": retention,
                "after": after,
                "limit": limit,
                "statuses": list(statuses),
            },
        )
        return last, deleted
