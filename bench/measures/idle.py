"""What a worker costs that has nothing to do."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

import numpy as np

from bench.arena import Arena, Place
from bench.contenders import at_worker
from bench.contenders.contender import Contender
from bench.contenders.everyone import EVERYONE
from bench.enqueue import enqueuer
from bench.measure import Measure, Metric, Sample, Trial
from bench.plan import Plan
from bench.procfs import cpu_seconds, resident
from bench.servers.serving import serving
from bench.servers.statements import LISTENING, SLOTS
from bench.waiting import WARM_UPS, until_ready

INTERVAL = 5  # seconds, the default of WORKER_POLLING_INTERVAL
SETTLING = 3.0  # seconds between the last task and the idle time


def idle(arena: Arena, contender: Contender, seconds: float) -> Sample:
    """Measure from outside: the processes by the kernel, their statements on the way to the server."""
    with (
        arena.place(WARM_UPS) as place,
        serving("statements", arena.directory, SLOTS, *_address(place)) as server,
        enqueuer(contender, place) as producer,
    ):
        producer.prepare()
        arena.settle_down()
        with contender.run(_through(place, server.port)) as workers:
            until_ready(place, workers, producer)
            time.sleep(SETTLING)
            pid = workers[0].pid
            before, began = cpu_seconds(pid), time.time()
            time.sleep(seconds)
            used, ended = cpu_seconds(pid) - before, time.time()
            memory = resident(pid)
    values = {"cpu": 100 * used / (ended - began), "memory": memory / 2**20}
    if not contender.needs_broker:
        for key, first in (("statements", 0), ("listening", LISTENING)):
            sent = server.arrivals.times(first, LISTENING)
            count = np.count_nonzero((sent > began) & (sent <= ended))
            values[key] = INTERVAL * count / (ended - began)
    return Sample(values)


def _address(place: Place) -> tuple[str, str]:
    parts = urlsplit(place.dsn)
    return str(parts.hostname), str(parts.port)


def _through(place: Place, port: int) -> Place:
    """The same database behind another port."""
    parts = urlsplit(place.dsn)
    user, _, host = parts.netloc.rpartition("@")
    netloc = f"{user}@{host.partition(':')[0]}:{port}"
    return replace(place, dsn=parts._replace(netloc=netloc).geturl())


@contextmanager
def trials(arena: Arena, plan: Plan) -> Iterator[Sequence[Trial]]:
    """at-worker over several polling intervals, its peers for as long as shows what they cost."""
    yield [
        Trial(
            one.label,
            one.settings,
            partial(
                idle, arena, one, plan.idle_seconds if one is at_worker.DEFAULT else plan.peers_idle_seconds
            ),
            one.unavailable(arena),
        )
        for one in plan.contenders(EVERYONE)
        if one is not at_worker.TUNED
    ]


MEASURE = Measure(
    "idle",
    "A worker with nothing to do",
    "Processor time of its processes, the statements that they sent to PostgreSQL in five seconds, which is "
    "at-worker's polling interval (those of a connection that listens apart), and resident memory.",
    (
        Metric("cpu", "% of a core", "lower", 2),
        Metric("statements", "statements in 5 s", "lower", 1),
        Metric("listening", "by a listening connection", "lower", 1),
        Metric("memory", "MiB", "lower", 1),
    ),
    trials,
    most_rounds=1,
)
