"""What the tests of RabbitMQ share."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import uuid4

from pika.adapters.blocking_connection import BlockingChannel

from at_worker import config
from at_worker.executors.rabbitmq import RabbitMQ
from at_worker.jsontext import Json
from at_worker.outcome import Outcome, Retry
from at_worker.plugin import Attempt
from tests.tables import PATIENCE

Drain = Callable[[str], list[str]]

SCHEDULED = datetime(2030, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)


def worker(url: str, **environ: str) -> RabbitMQ:
    return RabbitMQ(config.load({"RABBITMQ_URL": url, "WORKER_ID": "w-1", **environ}, ()))


def attempt(seconds: float = 20, uid: str | None = None) -> Attempt:
    """An attempt at a task of its own, unless `uid` names one."""
    deadline = time.monotonic() + seconds
    return Attempt(7, uid or str(uuid4()), 2, SCHEDULED, {}, None, deadline, threading.Event())


def run(rabbitmq: RabbitMQ, payload: Json, seconds: float = 20, uid: str | None = None) -> Outcome:
    return rabbitmq.execute(rabbitmq.parse(payload), attempt(seconds, uid)).result(seconds + PATIENCE)


def storm(rabbitmq: RabbitMQ, payloads: Sequence[Json], threads: int = 32) -> list[Outcome]:
    """Send all, so many at a time; the outcomes are in the order of the payloads."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda payload: run(rabbitmq, payload, 60), payloads))


def reason(outcome: Outcome) -> str:
    assert isinstance(outcome, Retry)
    return outcome.reason


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "rabbitmq"]


def declare(channel: BlockingChannel, **arguments: object) -> str:
    """Make a queue that goes with the test's connection."""
    name = f"at-worker-test-{uuid4()}"
    channel.queue_declare(name, exclusive=True, arguments=arguments)
    return name
