"""What the tests of RabbitMQ share."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

from pika.adapters.blocking_connection import BlockingChannel

from at_worker import config
from at_worker.executors.rabbitmq import RabbitMQ
from at_worker.jsontext import Json
from at_worker.outcome import Outcome, Retry
from at_worker.plugin import Attempt

Drain = Callable[[str], list[str]]

UID = "6f1e1f9e-26c7-4a3c-8a0e-3c1f5f0f9a10"
SCHEDULED = datetime(2030, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)


def worker(url: str, **environ: str) -> RabbitMQ:
    return RabbitMQ(config.load({"RABBITMQ_URL": url, "WORKER_ID": "w-1", **environ}, ()))


def attempt(seconds: float = 20) -> Attempt:
    deadline = time.monotonic() + seconds
    return Attempt(7, UID, 2, SCHEDULED, {}, None, deadline, threading.Event())


def run(rabbitmq: RabbitMQ, payload: Json, seconds: float = 20) -> Outcome:
    return rabbitmq.execute(rabbitmq.parse(payload), attempt(seconds))


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
