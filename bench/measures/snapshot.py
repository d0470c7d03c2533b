"""Claims that stay flat: under an old snapshot that keeps vacuum away, and among rows of one instant."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import numpy as np
import psycopg
from psycopg import IsolationLevel

from bench.arena import Arena
from bench.engine import claimer
from bench.measure import Measure, Metric, Sample, Trial
from bench.plan import Plan

ENDS = 1_000  # claims at the beginning and at the end that are compared
AHEAD = 5  # batches that are inserted before the first claim

INSERT = """
INSERT INTO scheduled_tasks (task_type, payload)
SELECT 'noop', jsonb_build_object('n', n) FROM generate_series(1, %(rows)s::int) AS n
"""


def flatness(arena: Arena, tasks: int, number: int, *, held: bool, at_once: bool) -> Sample:
    """So many tasks in so many claims, each settled before the next."""
    room = tasks // number
    with ExitStack() as stack:
        dsn = stack.enter_context(arena.database(schema=True))
        arena.settle_down()
        producer = stack.enter_context(psycopg.connect(dsn, autocommit=True))
        producer.execute(INSERT, {"rows": tasks if at_once else AHEAD * room})
        if held:
            holder = stack.enter_context(psycopg.connect(dsn))
            holder.isolation_level = IsolationLevel.REPEATABLE_READ
            holder.execute("SELECT count(*) FROM scheduled_tasks WHERE id < 0")
        claiming = stack.enter_context(claimer(dsn))
        for _ in range(number):
            if not at_once:
                producer.execute(INSERT, {"rows": room})
            claiming.settle(claiming.claim(room))
    ends = min(ENDS, number // 4)
    first, last, first_settled, last_settled = (
        float(np.median(part)) * 1000
        for seconds in (claiming.seconds, claiming.settling)
        for part in (seconds[:ends], seconds[-ends:])
    )
    return Sample(
        {
            "first": first,
            "last": last,
            "ratio": last / first,
            "first_settled": first_settled,
            "last_settled": last_settled,
            "tasks": tasks,
            "room": room,
        }
    )


@contextmanager
def trials(arena: Arena, plan: Plan) -> Iterator[Sequence[Trial]]:
    """The two hard cases, and one without a snapshot to compare with."""
    size = plan.snapshot_tasks, plan.snapshot_claims
    yield [
        Trial("inserts going on", "", partial(flatness, arena, *size, held=False, at_once=False)),
        Trial(
            "inserts going on, old snapshot held",
            "",
            partial(flatness, arena, *size, held=True, at_once=False),
        ),
        Trial(
            "all due at one instant, old snapshot held",
            "",
            partial(flatness, arena, *size, held=True, at_once=True),
        ),
    ]


MEASURE = Measure(
    "snapshot",
    "Claims over many tasks",
    "Tasks are claimed and settled, one batch after the other; p50 of the first and of the last "
    f"{ENDS:,} claims (of a quarter of them in a quick run), milliseconds.",
    (
        Metric("first", "first claims", "lower", 2),
        Metric("last", "last claims", "lower", 2),
        Metric("ratio", "last / first", "lower", 2),
        Metric("first_settled", "first settles", "lower", 2),
        Metric("last_settled", "last settles", "lower", 2),
        Metric("tasks", "tasks", "neither"),
        Metric("room", "tasks a claim", "neither"),
    ),
    trials,
    most_rounds=1,
)
