"""Receivers behind a network that fails: of callbacks, messages and mails. Each tells what it took over."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Protocol
from urllib.parse import urlsplit
from uuid import uuid4

import pika
from pika.adapters.blocking_connection import BlockingChannel

from tests.chaos.ledger import Delivery, Ledger, RecordingEndpoint
from tests.servers.rabbitmq import Broker, External
from tests.servers.smtp import Received, SmtpServer
from tests.tables import Table

TIMEOUT = "3"  # seconds for one attempt
# Seconds until one of the tasks of a receiver that was away is tried again.
POSTPONED = 120.0
REFUSALS = ["451 4.3.0 try again", "421 4.3.2 goodbye"] * 2
# Or nobody is left to tell it.
RUNNING = "SELECT FROM scheduled_tasks WHERE status = 'processing'"
TOLD = """
SELECT WHERE EXISTS (SELECT FROM scheduled_tasks WHERE status = 'pending' AND error_message LIKE %(why)s)
    OR NOT EXISTS (SELECT FROM scheduled_tasks WHERE status IN ('pending', 'processing'))
"""


class Target(Protocol):
    """A receiver; the worker reaches it at another port of the same machine."""

    task_type: str
    marker: bytes  # in what is sent of every task
    address: tuple[str, int]
    # Faults after which its tasks are postponed for a while, or that take long themselves.
    patient: tuple[str, ...]

    @property
    def faults(self) -> Mapping[str, Callable[[], None]]:
        """Those of its own, each over when it returns."""

    def settings(self, port: int) -> dict[str, str]: ...

    def payload(self, port: int) -> dict[str, object]: ...

    def tell(self, ledger: Ledger) -> None:
        """Enter what it took over, if that was not done at once."""


class Callbacks:
    task_type = "http_callback"
    marker = b"Idempotency-Key"
    patient: tuple[str, ...] = ()
    faults: Mapping[str, Callable[[], None]] = {}

    def __init__(self, receiver: RecordingEndpoint) -> None:
        self.address = ("127.0.0.1", receiver.port)

    def settings(self, port: int) -> dict[str, str]:
        del port
        return {"HTTP_TIMEOUT": TIMEOUT}

    def payload(self, port: int) -> dict[str, object]:
        return {"url": f"http://127.0.0.1:{port}/"}

    def tell(self, ledger: Ledger) -> None:
        """It did at once."""
        del ledger


class Mails:
    """A mail server that also refuses for a while, hangs up on everybody, and is started anew."""

    task_type = "email"
    marker = b"X-At-Worker-Task-Id"
    patient: tuple[str, ...] = ("cut", "away", "half open", "restarted")

    def __init__(self, server: SmtpServer) -> None:
        self._server = server
        self.address = ("127.0.0.1", server.port)
        self.faults = {
            "refused": lambda: server.content_replies.extend(
                ["451 4.3.0 try again", "421 4.3.2 goodbye"] * 2
            ),
            "hung up": server.hang_up,
            "restarted": server.restart,
        }

    def settings(self, port: int) -> dict[str, str]:
        return {
            "SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(port), "SMTP_TLS": "none", "SMTP_TIMEOUT": TIMEOUT,
        }  # fmt: skip

    def payload(self, port: int) -> dict[str, object]:
        del port
        return {"to": "ann@example.org", "subject": "chaos", "body": "text"}

    def tell(self, ledger: Ledger) -> None:
        for mail in self._server.mails:
            ledger.add(_mail(mail))


def _mail(mail: Received) -> Delivery:
    message = mail.message
    return Delivery(
        task=int(message["X-At-Worker-Task-Id"]),
        uid=message["Message-ID"].strip("<>").partition("@")[0],
        attempt=int(message["X-At-Worker-Attempt"]),
        start=mail.at,
        end=mail.at,
        status=200,
    )


class Messages:
    """A queue of a broker, which is also deleted and made again; a private broker suffers itself.

    What counts is what is in the queue afterwards, so nothing was confirmed that a broker forgot. When a
    message came into it the broker does not tell; its header says in which second it was sent.
    """

    task_type = "rabbitmq"
    marker = b"x-at-worker-task-id"
    patient: tuple[str, ...] = (
        *("cut", "away", "half open", "reply lost", "killed", "stopped", "blocked", "halted"),
    )

    def __init__(self, broker: Broker | External, table: Table) -> None:
        self._broker = broker
        self._table = table
        self._queue = f"at-worker-test-{uuid4()}"
        self._taken: list[Delivery] = []
        parts = urlsplit(broker.url)
        self._login, self._vhost = parts.netloc.rpartition("@")[0], parts.path
        self.address = (parts.hostname or "localhost", parts.port or 5672)
        self.faults: dict[str, Callable[[], None]] = {"queue deleted": self._make_again}
        if isinstance(broker, Broker):
            self.faults |= {
                "killed": partial(self._restart, broker, broker.kill),
                "stopped": partial(self._restart, broker, broker.stop),
                "blocked": partial(self._block, broker),
                "halted": partial(self._freeze, broker),
            }

    def settings(self, port: int) -> dict[str, str]:
        # A connection that is half open is noticed by its heartbeat alone.
        url = f"amqp://{self._login}@127.0.0.1:{port}{self._vhost}?heartbeat=1"
        return {"RABBITMQ_URL": url, "RABBITMQ_TIMEOUT": TIMEOUT}

    def payload(self, port: int) -> dict[str, object]:
        del port
        return {"queue": self._queue}

    def tell(self, ledger: Ledger) -> None:
        with self._channel() as channel:
            self._take(channel)
        for delivery in self._taken:
            ledger.add(delivery)

    @contextmanager
    def declared(self) -> Iterator[None]:
        """The queue is there during the block, and survives its broker."""
        with self._channel() as channel:
            channel.queue_declare(self._queue, durable=True)
        yield
        with self._channel() as channel:
            channel.queue_delete(self._queue)

    def _make_again(self) -> None:
        # What is on its way to a queue that is being deleted RabbitMQ confirms, and drops: nothing may be.
        self._table.sql("SELECT at_pause(%(type)s)", type=self.task_type)
        self._table.wait_for(lambda: not self._table.sql(RUNNING), POSTPONED)
        with self._channel() as channel:
            self._take(channel)
            channel.queue_delete(self._queue, if_empty=True)
        self._table.sql("SELECT at_resume(%(type)s)", type=self.task_type)
        self._wait_until_told("returned")
        with self._channel() as channel:
            channel.queue_declare(self._queue, durable=True)

    def _restart(self, broker: Broker, end: Callable[[], None]) -> None:
        end()
        self._wait_until_told("cannot connect")
        broker.start()

    def _block(self, broker: Broker) -> None:
        with broker.out_of_memory():
            self._wait_until_told("blocks publishers")

    def _freeze(self, broker: Broker) -> None:
        broker.freeze()
        self._wait_until_told("in time")
        broker.thaw()

    def _wait_until_told(self, why: str) -> None:
        self._table.wait_for(lambda: self._table.sql(TOLD, why=f"%{why}%"), POSTPONED)

    def _take(self, channel: BlockingChannel) -> None:
        while (got := channel.basic_get(self._queue, auto_ack=True))[0] is not None:
            properties = got[1]
            self._taken.append(
                Delivery(
                    task=properties.headers["x-at-worker-task-id"],
                    uid=properties.message_id,
                    attempt=properties.headers["x-at-worker-attempt"],
                    start=float(properties.timestamp),
                    end=float(properties.timestamp),
                    status=200,
                )
            )

    @contextmanager
    def _channel(self) -> Iterator[BlockingChannel]:
        connection = pika.BlockingConnection(pika.URLParameters(self._broker.url))
        try:
            yield connection.channel()
        finally:
            connection.close()
