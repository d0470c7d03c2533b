"""Mails: at-worker beside smtplib."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from bench.arena import Arena
from bench.contenders import at_worker
from bench.deliveries import bare, deliver
from bench.measure import Measure, Metric, Sample, Trial, rate
from bench.plan import Plan
from bench.servers.serving import serving

TASKS = 3_000
BARE = 2_000
THREADS = 32

PAYLOAD = {"to": "c-{n}@example.org", "subject": "Order {n}", "body": "Thank you for your order."}


def send(arena: Arena, tasks: int, **settings: str) -> Sample:
    """One worker process with its own executor."""
    with serving("smtp", arena.directory, tasks) as server:
        address = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(server.port), "SMTP_TLS": "none"}
        worker = at_worker.worker("", 0, **address, SMTP_FROM="bench@example.org", **settings)
        return Sample({"rate": rate(deliver(arena, worker, "email", PAYLOAD, tasks))})


def plain(arena: Arena, tasks: int, threads: int) -> Sample:
    """The plain script."""
    with serving("smtp", arena.directory, tasks) as server:
        return Sample({"rate": rate(bare(arena, "mail", tasks, threads, [str(server.port)]))})


@contextmanager
def trials(arena: Arena, plan: Plan) -> Iterator[Sequence[Trial]]:
    """at-worker as it comes; smtplib one mail after the other, and from as many threads."""
    yield [
        Trial("at-worker, defaults", "none", partial(send, arena, plan.tasks(TASKS))),
        Trial(
            "smtplib, one after the other",
            "a connection for each mail",
            partial(plain, arena, plan.tasks(BARE), 1),
        ),
        Trial(
            f"smtplib, {THREADS} threads",
            "a connection for each mail",
            partial(plain, arena, plan.tasks(BARE), THREADS),
        ),
    ]


MEASURE = Measure(
    "mails",
    "Mails",
    "Short mails to an aiosmtpd server in a process of its own, which bounds what can be reached.",
    (Metric("rate", "mails/s", "higher"),),
    trials,
)
