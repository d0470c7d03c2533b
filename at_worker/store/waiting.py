"""What waits for a worker just now."""

from dataclasses import dataclass

from at_worker.store.database import Database

# As a claim finds the lanes: by stepping over the index, of which rows of the future are no part of the way.
# What is due is counted up to a limit, for a flood of it is no time to read much.
WAITING = """
WITH RECURSIVE lane AS (
    (SELECT t.task_type, t.priority FROM {tasks} t
      WHERE t.status = 'pending' ORDER BY t.task_type, t.priority LIMIT 1)
    UNION ALL
    SELECT next.task_type, next.priority
      FROM lane CROSS JOIN LATERAL (
        SELECT t.task_type, t.priority FROM {tasks} t
         WHERE t.status = 'pending' AND (t.task_type, t.priority) > (lane.task_type, lane.priority)
         ORDER BY t.task_type, t.priority LIMIT 1) next
)
SELECT lane.task_type, sum(due.rows)::bigint,
       coalesce(date_part('epoch', now() - min(due.oldest)), 0)
  FROM lane CROSS JOIN LATERAL (
    SELECT count(*) AS rows, min(first.execute_at) AS oldest
      FROM (SELECT t.execute_at FROM {tasks} t
             WHERE t.status = 'pending' AND t.task_type = lane.task_type AND t.priority = lane.priority
               AND t.execute_at <= now()
             ORDER BY t.execute_at LIMIT %(most)s) first) due
 WHERE NOT EXISTS (SELECT FROM {paused} p WHERE p.task_type = lane.task_type)
 GROUP BY lane.task_type
"""
MOST = 10_000


@dataclass(frozen=True, slots=True)
class Waiting:
    """The rows of one type that are due, counted up to MOST for each priority, and since when in seconds."""

    type: str
    rows: int
    oldest: float


def waiting(database: Database) -> list[Waiting]:
    """Look, on a connection made for it; types that are paused or have nothing pending are missing."""
    with database.direct() as session:
        return [Waiting(*row) for row in session.rows(WAITING, {"most": MOST})]
