"""dramatiq with RabbitMQ: `dramatiq bench.apps.dramatiq`."""

import math
import time
from collections.abc import Sequence

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from bench import marks
from bench.apps.producer import amqp_url, queue

started = marks.inherited()
broker = RabbitmqBroker(url=amqp_url())
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name=queue())
def noop(n: int) -> None:
    """Start and end."""
    started.mark(n)


class Producer:
    """One message a call; a delay counts whole milliseconds from the call on."""

    def prepare(self) -> None:
        """Nothing: it declares its queues itself."""

    def put(self, first: int, due: Sequence[float | None]) -> None:
        for number, instant in enumerate(due, first):
            delay = None if instant is None else math.ceil((instant - time.time()) * 1000)
            noop.send_with_options(args=(number,), delay=delay)

    def put_one(self, number: int) -> None:
        noop.send(number)
