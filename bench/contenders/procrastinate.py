"""procrastinate."""

from bench.contenders.contender import BIN, Contender

RUN = (BIN / "procrastinate", "--app", "bench.apps.procrastinate.app")
UNFINISHED = "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
TUNING = ("--concurrency", "50", "--fetch-job-polling-interval", "0.05", "--delete-jobs", "successful")

CONTENDERS = (
    Contender(
        "procrastinate",
        "defaults",
        "none",
        "procrastinate",
        "procrastinate",
        (*RUN, "worker"),
        1_500,
        puts=2_000,
        unfinished=UNFINISHED,
    ),
    Contender(
        "procrastinate",
        "tuned",
        f"{' '.join(TUNING)}, --log-level warning",
        "procrastinate",
        "procrastinate",
        (*RUN, "--log-level", "warning", "worker", *TUNING),
        1_500,
        puts=2_000,
        unfinished=UNFINISHED,
        tuned=True,
    ),
)
