"""Celery with RabbitMQ."""

from bench.contenders.contender import BIN, Contender

RUN = (BIN / "celery", "--app", "bench.apps.celery", "worker")
TUNING = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING")

CONTENDERS = (
    Contender(
        "Celery + RabbitMQ",
        "defaults",
        "none (prefork, a process a core)",
        "celery",
        "celery",
        RUN,
        5_000,
        puts=1_200,
        needs_broker=True,
    ),
    Contender(
        "Celery + RabbitMQ",
        "tuned",
        f"worker_prefetch_multiplier=1000, worker_disable_rate_limits, {' '.join(TUNING)}",
        "celery",
        "celery",
        (*RUN, *TUNING),
        5_000,
        puts=1_200,
        environment={"BENCH_CELERY_TUNED": "1"},
        needs_broker=True,
        tuned=True,
    ),
)
