"""at-worker."""

import sys

from bench.contenders.contender import Contender

RUN = (sys.executable, "-m", "at_worker", "run")
UNFINISHED = "SELECT count(*) FROM scheduled_tasks WHERE status IN ('pending', 'processing')"


def worker(variant: str, drain_tasks: int, **settings: str) -> Contender:
    """at-worker with these variables."""
    return Contender(
        name="at-worker",
        variant=variant,
        settings=", ".join(f"{name}={value}" for name, value in settings.items()) or "none",
        package="at-worker",
        app="at_worker",
        command=("sh", "-c", 'DATABASE_URL="$BENCH_DSN" exec "$@"', "at-worker", *RUN),
        drain_tasks=drain_tasks,
        environment=settings,
        unfinished=UNFINISHED,
        processes_option="--processes",
        tuned=variant != "defaults",
    )


DEFAULT = worker("defaults", 15_000)
TUNED = worker("tuned", 40_000, WORKER_BATCH_SIZE="500", WORKER_CONCURRENCY="64")
CONTENDERS = (DEFAULT, TUNED)
