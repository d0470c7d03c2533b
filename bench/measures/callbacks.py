"""HTTP callbacks: at-worker beside a bare pool of requests sessions."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from bench.arena import Arena
from bench.contenders import at_worker
from bench.contenders.contender import Contender
from bench.deliveries import DATA, bare, deliver
from bench.measure import Measure, Metric, Sample, Trial, rate
from bench.plan import Plan
from bench.servers.serving import serving

THREADS = 32  # the default of WORKER_CONCURRENCY
DELAYS = (0, 20)  # milliseconds until the server answers
TASKS = {0: 4_000, 20: 3_000}

BATCHES = at_worker.worker("batches of 500", 0, WORKER_BATCH_SIZE="500")


def callbacks(arena: Arena, worker: Contender, tasks: dict[int, int]) -> Sample:
    """One worker process with its own executor."""
    values = {}
    for delay, count in tasks.items():
        with serving("http", arena.directory, count, str(delay / 1000)) as server:
            payload = {"url": f"http://127.0.0.1:{server.port}/hook", "data": DATA}
            values[f"rate@{delay}"] = rate(deliver(arena, worker, "http_callback", payload, count))
    return Sample(values)


def sessions(arena: Arena, tasks: dict[int, int]) -> Sample:
    """The bare pool."""
    values = {}
    for delay, count in tasks.items():
        with serving("http", arena.directory, count, str(delay / 1000)) as server:
            url = f"http://127.0.0.1:{server.port}/hook"
            values[f"rate@{delay}"] = rate(bare(arena, "http", count, THREADS, [url]))
    return Sample(values)


@contextmanager
def trials(arena: Arena, plan: Plan) -> Iterator[Sequence[Trial]]:
    """at-worker as it comes and with larger claims; the bare pool."""
    tasks = {delay: plan.tasks(count) for delay, count in TASKS.items()}
    yield [
        *(
            Trial(one.label, one.settings, partial(callbacks, arena, one, tasks))
            for one in (at_worker.DEFAULT, BATCHES)
        ),
        Trial(
            "bare pool of requests sessions",
            f"ThreadPoolExecutor of {THREADS} threads, one session each, kept alive",
            partial(sessions, arena, tasks),
        ),
    ]


MEASURE = Measure(
    "callbacks",
    "HTTP callbacks",
    f"POST of a small JSON body to a local server, {THREADS} threads, timeout of 30 s. at-worker claims each "
    "task from PostgreSQL and writes its result back; the bare pool only calls.",
    tuple(Metric(f"rate@{delay}", f"callbacks/s, {delay} ms answers", "higher") for delay in DELAYS),
    trials,
)
