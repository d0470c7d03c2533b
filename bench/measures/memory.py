"""What a worker costs over a long drain."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import psycopg
from psycopg import sql

from bench.arena import Arena
from bench.contenders import at_worker
from bench.contenders.contender import Contender
from bench.enqueue import enqueuer
from bench.measure import Measure, Metric, Sample, Trial, rate
from bench.plan import Plan
from bench.processes import check
from bench.procfs import anonymous, cpu_seconds
from bench.waiting import STALL, Stalled, until_finished

STEP = 0.25  # seconds between two looks
INSERT = """
INSERT INTO scheduled_tasks (task_type, payload)
SELECT 'noop', jsonb_build_object('n', n) FROM generate_series(0, %(tasks)s::int - 1) AS n
"""
EARLY = 0.1  # the part of the tasks after which memory is to stay as it is
COMMITS = "SELECT xact_commit FROM pg_stat_database WHERE datname = {name}"


def memory(arena: Arena, worker: Contender, tasks: int) -> Sample:
    """One process, all tasks due at its start; its memory after a tenth of them, the most since, the last."""
    seen: list[tuple[int, int]] = []
    with arena.place(tasks) as place:
        commits = partial(arena.number, sql.SQL(COMMITS).format(name=sql.Literal(place.name)))
        with enqueuer(worker, place) as producer:
            producer.prepare()
        with psycopg.connect(place.dsn, autocommit=True) as connection:
            connection.execute(INSERT, {"tasks": tasks})
            connection.execute("VACUUM ANALYZE scheduled_tasks")
        arena.settle_down()
        before = commits()
        with worker.run(place) as workers:
            progress = time.monotonic()
            while not seen or seen[-1][0] < tasks:
                time.sleep(STEP)
                check(workers, place.log)
                seen.append((place.marks.written(0, tasks), anonymous(workers[0].pid)))
                if len(seen) < 2 or seen[-1][0] > seen[-2][0]:
                    progress = time.monotonic()
                elif time.monotonic() - progress > STALL:
                    raise Stalled(f"{seen[-1][0]} of {tasks} tasks started")
            finished = until_finished(worker, place)
            used = cpu_seconds(workers[0].pid)
        # A connection has reported all that it did once it is closed.
        transactions = commits() - before
        times = place.marks.times(0, tasks)
    after = [size for done, size in seen if done >= tasks * EARLY]
    return Sample(
        {
            "early": after[0] / 2**20,
            "most": max(after) / 2**20,
            "end": after[-1] / 2**20,
            "tasks": tasks,
            "rate": rate(times, finished),
            "cpu": 100 * used / (finished - float(times.min())),
            "transactions": 1000 * transactions / tasks,
        }
    )


@contextmanager
def trials(arena: Arena, plan: Plan) -> Iterator[Sequence[Trial]]:
    """at-worker, tuned, since its defaults would only take longer."""
    worker = at_worker.TUNED
    yield [Trial(worker.label, worker.settings, partial(memory, arena, worker, plan.memory_tasks))]


MEASURE = Measure(
    "memory",
    "A long drain",
    "Memory of one worker and its parent in MiB, without what they share with files, once a tenth of the "
    "tasks was done, at most after that, and at the end; their processor time; and the transactions that the "
    "server counted.",
    (
        Metric("early", "after a tenth", "lower", 1),
        Metric("most", "most", "lower", 1),
        Metric("end", "end", "lower", 1),
        Metric("tasks", "tasks", "neither"),
        Metric("rate", "tasks/s", "higher"),
        Metric("cpu", "% of a core", "lower"),
        Metric("transactions", "transactions for 1,000 tasks", "lower", 1),
    ),
    trials,
    most_rounds=1,
)
