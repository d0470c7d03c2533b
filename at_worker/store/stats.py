"""The picture at one look. Among very many rows what has no index is judged by a sample of them."""

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from at_worker.store.session import Row, Session

# In pages of 8 KiB: up to there a table is read as a whole, in a second or two; of a larger one so many are.
WHOLE = 32_768
SAMPLED = 4_096
MOST_DUE = 10_000

SIZE = """
SELECT pg_relation_size($name${tasks}$name$) / current_setting('block_size')::integer, now()
"""

_COUNTS = """
SELECT t.task_type, t.status, count(*),
       count(*) FILTER (WHERE t.updated_at > now() - interval '1 hour'),
       count(*) FILTER (WHERE t.updated_at > now() - interval '1 day')
  FROM {tasks} t {sample}
 GROUP BY t.task_type, t.status ORDER BY t.task_type, t.status
"""

# Of the last attempt of each task that ended within a day, as the view scheduled_tasks_lateness has it.
_LATENESS = """
SELECT started.task_type, percentile_cont('{0.5,0.99}'::float8[]) WITHIN GROUP (ORDER BY started.late)
  FROM (SELECT t.task_type, date_part('epoch', t.started_at - t.execute_at) AS late
          FROM {tasks} t {sample}
         WHERE t.status IN ('completed', 'failed') AND t.attempts > 0
           AND t.started_at > now() - interval '1 day') AS started
 GROUP BY ROLLUP (started.task_type)
"""
_SAMPLE = "TABLESAMPLE SYSTEM (%(percent)s::real)"
COUNTS = _COUNTS.replace("{sample}", "")
COUNTS_OF_SAMPLE = _COUNTS.replace("{sample}", _SAMPLE)
LATENESS = _LATENESS.replace("{sample}", "")
LATENESS_OF_SAMPLE = _LATENESS.replace("{sample}", _SAMPLE)

# What follows walks indexes, however large the table is: the types one by one, the first rows of each lane,
# the rows that are claimed.
DUE = """
WITH RECURSIVE type AS (
    (SELECT t.task_type AS name FROM {tasks} t WHERE t.status = 'pending' ORDER BY t.task_type LIMIT 1)
    UNION ALL
    SELECT next.task_type FROM type CROSS JOIN LATERAL (
        SELECT t.task_type FROM {tasks} t WHERE t.status = 'pending' AND t.task_type > type.name
         ORDER BY t.task_type LIMIT 1) AS next
)
SELECT type.name, least(sum(lane.due), %(most)s)::bigint, min(lane.oldest)
  FROM type CROSS JOIN generate_series(0, 9) AS level CROSS JOIN LATERAL (
        SELECT count(*) AS due, min(first.execute_at) AS oldest FROM (
            SELECT t.execute_at FROM {tasks} t
             WHERE t.status = 'pending' AND t.task_type = type.name AND t.priority = level::smallint
               AND t.execute_at <= now()
             ORDER BY t.execute_at LIMIT %(most)s) AS first) AS lane
 GROUP BY type.name HAVING sum(lane.due) > 0
"""
RUNNING = "SELECT t.task_type, count(*) FROM {tasks} t WHERE t.status = 'processing' GROUP BY t.task_type"
WORKERS = """
SELECT p.holder, p.version, p.seen_at, p.seen_at > now() - interval '30 seconds',
       (SELECT count(*) FROM {tasks} t WHERE t.status = 'processing' AND t.locked_by = p.holder)
  FROM {presence} p ORDER BY p.holder
"""


@dataclass(frozen=True, slots=True)
class Count:
    """How many rows of one type have one status, and how many of them changed within an hour and a day."""

    tasks: int
    hour: int
    day: int


@dataclass(frozen=True, slots=True)
class Due:
    """How many tasks could start now, MOST_DUE at most, and since when the oldest could."""

    count: int
    oldest: datetime


@dataclass(frozen=True, slots=True)
class Lateness:
    """Seconds from the planned to the true start: half were at most `p50` late, of a hundred 99 `p99`."""

    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class SeenWorker:
    """A worker process that has shown itself; `running` is how many tasks it has claimed."""

    holder: str
    version: str
    seen_at: datetime
    alive: bool
    running: int


@dataclass(frozen=True, slots=True)
class Picture:
    """All at one instant; `sampled` is the share of the table that counts and lateness come from, 1 is all.

    Counts are by type and status, lateness by type with that of all types under None.
    """

    at: datetime
    sampled: float
    counts: dict[tuple[str, str], Count]
    lateness: dict[str | None, Lateness]
    due: dict[str, Due]
    running: dict[str, int]
    workers: list[SeenWorker]


def picture(session: Session, *, exact: bool) -> Picture:
    """Look at all there is; `exact` reads the whole table however large it is."""
    with session.transaction():
        session.take_time()
        pages, at = session.rows(SIZE)[0]
        share = 1.0 if exact or pages <= WHOLE else SAMPLED / pages
        return Picture(
            at=at,
            sampled=share,
            counts={
                (task_type, status): Count(*(round(number / share) for number in numbers))
                for task_type, status, *numbers in _rows(session, share, COUNTS, COUNTS_OF_SAMPLE)
            },
            lateness={
                task_type: Lateness(*percentiles)
                for task_type, percentiles in _rows(session, share, LATENESS, LATENESS_OF_SAMPLE)
                if percentiles is not None
            },
            due={name: Due(count, oldest) for name, count, oldest in session.rows(DUE, {"most": MOST_DUE})},
            running=dict(session.rows(RUNNING)),
            workers=[SeenWorker(*row) for row in session.rows(WORKERS)],
        )


def _rows(session: Session, share: float, whole: LiteralString, sample: LiteralString) -> list[Row]:
    if share == 1.0:
        return session.rows(whole)
    return session.rows(sample, {"percent": 100 * share})
