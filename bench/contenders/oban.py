"""oban for Python."""

import sys

from bench.contenders.contender import Contender

RUN = (sys.executable, "-m", "bench.apps.oban")
UNFINISHED = (
    "SELECT count(*) FROM oban_jobs WHERE state IN ('scheduled', 'available', 'executing', 'retryable')"
)

CONTENDERS = (
    Contender(
        "oban",
        "defaults",
        "queue limit 10, the value that it takes for itself",
        "oban",
        "oban",
        RUN,
        5_000,
        puts=5_000,
        environment={"BENCH_OBAN_LIMIT": "10"},
        unfinished=UNFINISHED,
    ),
    Contender(
        "oban",
        "tuned",
        "queue limit 100, stager interval 20 ms, pool of 20",
        "oban",
        "oban",
        RUN,
        8_000,
        puts=5_000,
        environment={"BENCH_OBAN_LIMIT": "100", "BENCH_OBAN_STAGE": "0.02", "BENCH_OBAN_POOL": "20"},
        unfinished=UNFINISHED,
        tuned=True,
    ),
)
