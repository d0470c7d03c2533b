"""What a claim costs that finds nothing due, against the size of the table."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial

import numpy as np
import psycopg

from bench.arena import Arena
from bench.engine import claimer
from bench.measure import Measure, Metric, Sample, Trial, curve, spread
from bench.plan import Plan

# On which cores both ends of a connection meet stays as it is, and counts as much as what is measured.
CONNECTIONS = 10
CLAIMS = 100  # over each
WARM_UPS = 20
ROOM = 10  # the default of WORKER_BATCH_SIZE
FUTURE = 100_000  # future rows beside the finished ones

HANDS = 2  # connections that fill a table; one for each core of the smallest machine
SPACING = 0.1  # seconds between two future rows; those of one hand follow each other in time

INSERT_FUTURE = """
INSERT INTO scheduled_tasks (task_type, payload, execute_at)
SELECT 'noop', jsonb_build_object('n', n), now() + interval '1 hour' + n * %(spacing)s * interval '1 s'
  FROM generate_series(%(first)s::int, %(rows)s::int, %(hands)s::int) AS n
"""
INSERT_FINISHED = """
INSERT INTO scheduled_tasks
       (task_type, payload, execute_at, status, attempts, completed_at, started_at, locked_by, claim_seq)
SELECT 'noop', jsonb_build_object('n', n), now() - n * interval '1 s', 'completed', 1,
       now() - n * interval '1 s', now() - n * interval '1 s', 'w-1/0', 1
  FROM generate_series(1, %(rows)s::int) AS n
"""


def fill(dsn: str, future: int, finished: int = 0) -> None:
    """Rows by several connections, and then what autovacuum would have done by the time that it matters."""

    def insert(first: int) -> None:
        parameters = {"first": first, "rows": future, "hands": HANDS, "spacing": SPACING}
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(INSERT_FUTURE, parameters)

    with ThreadPoolExecutor(HANDS) as pool:
        list(pool.map(insert, range(1, HANDS + 1)))
    with psycopg.connect(dsn, autocommit=True) as connection:
        if finished:
            connection.execute(INSERT_FINISHED, {"rows": finished})
        connection.execute("VACUUM ANALYZE scheduled_tasks")


def claims(arena: Arena, dsn: str) -> Sample:
    """Many claims that find nothing."""
    arena.settle_down()
    seconds: list[float] = []
    for _ in range(CONNECTIONS):
        with claimer(dsn) as claiming:
            for _ in range(WARM_UPS + CLAIMS):
                claiming.claim(ROOM)
        seconds += claiming.seconds[WARM_UPS:]
    milliseconds = np.array(seconds) * 1000
    return Sample(spread(milliseconds), {"claim": curve(milliseconds)})


@contextmanager
def trials(arena: Arena, plan: Plan) -> Iterator[Sequence[Trial]]:
    """A database for each size; all stay until the rounds are over."""
    with ExitStack() as databases:
        found = []
        for rows in plan.claim_rows:
            dsn = databases.enter_context(arena.database(schema=True))
            fill(dsn, rows)
            found.append(Trial(f"{rows:,} future rows", "", partial(claims, arena, dsn)))
        dsn = databases.enter_context(arena.database(schema=True))
        fill(dsn, FUTURE, plan.finished_rows)
        label = f"{FUTURE:,} future rows beside {plan.finished_rows:,} finished"
        found.append(Trial(label, "", partial(claims, arena, dsn)))
        yield found


MEASURE = Measure(
    "claims",
    "A claim that finds nothing due",
    f"{CLAIMS} calls of the engine's claim on each of {CONNECTIONS} connections, one after the other; "
    "milliseconds with the way there and back.",
    (
        Metric("p50", "p50", "lower", 3),
        Metric("p99", "p99", "lower", 3),
        Metric("max", "max", "lower", 3),
    ),
    trials,
)
