"""RabbitMQ messages: at-worker beside one blocking connection with a confirm for each message."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import pika

from bench.arena import Arena
from bench.contenders import at_worker
from bench.contenders.contender import Contender
from bench.deliveries import DATA, bare, deliver, prepared
from bench.measure import Measure, Metric, Sample, Trial, rate
from bench.plan import Plan

TASKS = 20_000
BARE = 6_000
PREPARED = 20_000
WINDOW = 500
QUEUE = "bench-messages"
TUNED = {"WORKER_BATCH_SIZE": "500", "WORKER_CONCURRENCY": "500"}


@contextmanager
def queue(url: str) -> Iterator[None]:
    """A durable queue that takes what comes."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.queue_declare(QUEUE, durable=True)
        try:
            yield
        finally:
            channel.queue_delete(QUEUE)


def publish(arena: Arena, worker: Contender, tasks: int, processes: int) -> Sample:
    """at-worker's own executor, in so many processes."""
    with queue(arena.amqp_url):
        payload = {"queue": QUEUE, "data": DATA}
        return Sample({"rate": rate(deliver(arena, worker, "rabbitmq", payload, tasks, processes))})


def one_by_one(arena: Arena, tasks: int) -> Sample:
    """The plain script."""
    with queue(arena.amqp_url):
        return Sample({"rate": rate(bare(arena, "rabbitmq", tasks, 1, [arena.amqp_url, QUEUE]))})


def ceiling(arena: Arena, tasks: int) -> Sample:
    """The broker itself."""
    with queue(arena.amqp_url):
        return Sample({"rate": rate(prepared(arena, tasks, WINDOW, [arena.amqp_url, QUEUE]))})


@contextmanager
def trials(arena: Arena, plan: Plan) -> Iterator[Sequence[Trial]]:
    """at-worker as it comes and tuned, and the script."""
    tuning = ", ".join(f"{name}={value}" for name, value in TUNED.items())
    default = at_worker.worker("defaults", 0, RABBITMQ_URL=arena.amqp_url)
    tuned = at_worker.worker("tuned", 0, **TUNED, RABBITMQ_URL=arena.amqp_url)
    ours = (
        (default.label, "none", partial(publish, arena, default, plan.tasks(TASKS // 2), 1)),
        (tuned.label, tuning, partial(publish, arena, tuned, plan.tasks(TASKS), 1)),
        (f"{tuned.label}, 2 processes", tuning, partial(publish, arena, tuned, plan.tasks(TASKS), 2)),
    )
    yield [
        *(Trial(label, settings, run, arena.no_broker) for label, settings, run in ours),
        Trial(
            "one blocking pika connection",
            "a confirm awaited for each message",
            partial(one_by_one, arena, plan.tasks(BARE)),
            arena.no_broker,
        ),
        Trial(
            "the broker alone",
            f"bytes that were encoded once, {WINDOW} messages under way, no database",
            partial(ceiling, arena, plan.tasks(PREPARED)),
            arena.no_broker,
        ),
    ]


MEASURE = Measure(
    "messages",
    "RabbitMQ messages",
    "Persistent, mandatory, confirmed messages to one durable queue. at-worker claims each task from "
    "PostgreSQL and writes its result back, with *2 processes* over one connection each; the script only "
    "publishes. *The broker alone*: the most that it confirms over one connection here, with no database "
    "beside it and a client that costs next to nothing.",
    (Metric("rate", "messages/s", "higher"),),
    trials,
)
