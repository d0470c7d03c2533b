from collections.abc import Iterator
from contextlib import ExitStack

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from at_worker.executors.rabbitmq import RabbitMQ
from tests.executors.rabbitmq.messages import Drain, declare, worker
from tests.servers.amqp_proxy import Proxy, proxy
from tests.servers.rabbitmq import Broker, External


@pytest.fixture
def faulty(broker: Broker | External) -> Iterator[Broker | Proxy]:
    """A broker to stop and to freeze: the private one itself, or a proxy before one that is not ours."""
    with ExitStack() as stack:
        yield broker if isinstance(broker, Broker) else stack.enter_context(proxy(broker.url))


@pytest.fixture
def channel(broker: Broker | External) -> Iterator[BlockingChannel]:
    """The test's own look into the broker."""
    connection = pika.BlockingConnection(pika.URLParameters(broker.url))
    yield connection.channel()
    connection.close()


@pytest.fixture
def queue(channel: BlockingChannel) -> str:
    return declare(channel)


@pytest.fixture
def drain(channel: BlockingChannel) -> Drain:
    """The bodies of all messages in a queue."""

    def take(queue: str) -> list[str]:
        bodies = []
        while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
            bodies.append(got[2].decode())
        return bodies

    return take


@pytest.fixture
def rabbitmq(broker: Broker | External) -> Iterator[RabbitMQ]:
    executor = worker(broker.url)
    yield executor
    executor.close()
