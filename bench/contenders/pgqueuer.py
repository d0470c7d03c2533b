"""pgqueuer."""

from bench.contenders.contender import BIN, Contender

RUN = ("sh", "-c", 'PGDSN="$BENCH_DSN" exec "$@"', "pgq", BIN / "pgq", "run", "bench.apps.pgqueuer:main")
UNFINISHED = "SELECT count(*) FROM pgqueuer"

CONTENDERS = (
    Contender("pgqueuer", "defaults", "none", "pgqueuer", "pgqueuer", RUN, 15_000, unfinished=UNFINISHED),
    Contender(
        "pgqueuer",
        "tuned",
        "--batch-size 500, --log-level WARNING, min_dequeue_poll_interval 1 ms",
        "pgqueuer",
        "pgqueuer",
        (*RUN, "--batch-size", "500", "--log-level", "WARNING"),
        40_000,
        environment={"BENCH_PGQUEUER_POLL": "0.001"},
        unfinished=UNFINISHED,
        tuned=True,
    ),
)
