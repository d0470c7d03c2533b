"""What a worker costs that has nothing to do, with its defaults."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from psycopg import sql

from bench.arena import Arena
from bench.contenders import at_worker
from bench.contenders.contender import Contender
from bench.enqueue import enqueuer
from bench.measure import Measure, Metric, Sample, Trial
from bench.plan import Plan
from bench.procfs import cpu_seconds, resident
from bench.waiting import WARM_UPS, until_ready

SETTLING = 11.0  # seconds before the idle time begins: a connection reports what it did after up to ten
COMMITS = "SELECT xact_commit FROM pg_stat_database WHERE datname = {name}"


def idle(arena: Arena, worker: Contender, seconds: float) -> Sample:
    """Measure from outside: the process by the kernel, its statements by the server."""
    with arena.place(WARM_UPS) as place:
        asking = sql.SQL(COMMITS).format(name=sql.Literal(place.name))
        with enqueuer(worker, place) as producer:
            producer.prepare()
            with worker.run(place) as workers:
                until_ready(place, workers, producer)
                time.sleep(SETTLING)
                pid = workers[0].pid
                used, before, began = cpu_seconds(pid), arena.scalar(asking), time.monotonic()
                time.sleep(seconds)
                lasted = time.monotonic() - began
                cpu = (cpu_seconds(pid) - used) / lasted
                statements = (int(str(arena.scalar(asking))) - int(str(before))) / lasted
                return Sample(
                    {"cpu": cpu * 100, "statements": statements * 5, "memory": resident(pid) / 2**20}
                )


@contextmanager
def trials(arena: Arena, plan: Plan) -> Iterator[Sequence[Trial]]:
    """at-worker."""
    worker = at_worker.DEFAULT
    yield [Trial(worker.label, "none", partial(idle, arena, worker, plan.idle_seconds))]


MEASURE = Measure(
    "idle",
    "A worker with nothing to do",
    "Processor time of the process, the transactions that the server counted in its database (the probes of "
    "the listening connection included), and resident memory.",
    (
        Metric("cpu", "% of a core", "lower", 2),
        Metric("statements", "transactions per polling interval of 5 s", "lower", 1),
        Metric("memory", "MiB", "lower", 1),
    ),
    trials,
    most_rounds=1,
)
