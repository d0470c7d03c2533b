"""The connection to RabbitMQ, as the one thread that runs it sees it: opened, blocked, lost, opened again."""

import time
from collections import deque
from contextlib import suppress
from functools import partial

from at_worker.executors.rabbitmq import amqp
from at_worker.executors.rabbitmq.amqp import IOLoop, Opaque
from at_worker.executors.rabbitmq.channels import Channels
from at_worker.executors.rabbitmq.message import Delivery, Refusal, Request

RECONNECT_PAUSE = 1.0
MAY_HAVE_ARRIVED = "; the message may have arrived"


class Connection:
    """Opened when a request waits, again after a failure; all but `waiting` is the loop's.

    Raises ConfigError for a URL that pika cannot use.
    """

    def __init__(self, url: str, name: str) -> None:
        self._parameters = amqp.parameters(url, name)
        self.target = f"{self._parameters.host}:{self._parameters.port}"
        self.banner = ""
        self.loop = IOLoop()
        self.waiting: deque[Request] = deque()
        self._connection: Opaque = None
        self._channels: Channels | None = None
        self._not_before = 0.0
        self._blocked = ""
        self._leaving = False

    @property
    def is_busy(self) -> bool:
        """Whether answers are due, so that a moment more or less costs no message its time."""
        return self._channels is not None and self._channels.is_busy

    def trouble(self, request: Request) -> Refusal:
        """Say what a request without an answer waits for."""
        connection = self._connection
        sent = isinstance(request, Delivery) and request.sent
        fate = "it may have arrived" if sent else "it was not sent"
        if connection is None or not connection.is_open:
            why = f"no connection to {self.target} in time{MAY_HAVE_ARRIVED if sent else ''}"
            return Refusal(why, unreachable=True)
        if self._blocked:
            return Refusal(f"{self.target} blocks publishers: {self._blocked}; {fate}")
        if not sent:
            return Refusal(f"no free channel to {self.target} in time; {fate}")
        return Refusal(f"{self.target} did not confirm the message in time; {fate}")

    def dispatch(self) -> None:
        """Write what can be written; whatever may allow more comes back here."""
        while self.waiting and self.waiting[0].is_answered:
            self.waiting.popleft()
        if self._connection is None:
            if self.waiting:
                self._connect()
        elif self._channels and self._connection.is_open and not self._blocked:
            with self._connection.gathering():
                self._send(self._channels)

    def abandon(self, request: Request) -> None:
        """Let go of a request whose time is over, and say why it has no answer."""
        request.answer(self.trouble(request))
        if self._channels and isinstance(request, Delivery):
            self._channels.abandon(request)
        self.dispatch()

    def drop(self, why: str) -> None:
        """Cut the connection without a goodbye; the next request opens another."""
        connection = self._connection
        self._end(connection, why)
        # pika offers only a polite close, which a frozen peer never answers.
        with suppress(Exception):
            connection._terminate_stream(ConnectionError(why))  # noqa: SLF001

    def leave(self, patience: float) -> None:
        """Close the connection, politely for at most `patience` seconds, and end the loop."""
        self._leaving = True
        why = f"the connection to {self.target} is being closed"
        self._refuse_waiting(why)
        self.loop.call_later(patience, partial(self.drop, why))
        self.loop.call_later(patience + 0.5, self.loop.stop)
        if self._connection is None:
            self.loop.stop()
        elif not self._connection.is_closing:
            self._connection.close()

    def _send(self, channels: Channels) -> None:
        while self.waiting:
            request = self.waiting.popleft()
            if request.is_answered:
                continue
            if isinstance(request, Delivery):
                channels.send(request)
            else:
                request.answer(None)
        channels.send_waiting()

    def _connect(self) -> None:
        pause = self._not_before - time.monotonic()
        if pause > 0:
            # A broker that is away is asked once a second, however many requests wait.
            self.loop.call_later(pause, self.dispatch)
            return
        self._connection = amqp.Wire(
            self._parameters, self._on_open, self._on_open_error, self._on_close, custom_ioloop=self.loop
        )

    def _on_open(self, connection: Opaque) -> None:
        server = connection.server_properties
        vhost = self._parameters.virtual_host
        self.banner = f"{server.get('product')} {server.get('version')} at {self.target}, vhost {vhost}"
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        self._channels = Channels(connection, self.target, self.dispatch)
        self.dispatch()

    def _on_open_error(self, connection: Opaque, error: BaseException) -> None:
        if connection is self._connection:
            why = f"cannot connect to {self.target}: {amqp.said(error)}"
            self._end(connection, why)
            self._refuse_waiting(why, unreachable=True)
        if self._leaving:
            self.loop.stop()

    def _on_close(self, connection: Opaque, error: BaseException) -> None:
        self._end(connection, f"connection to {self.target} lost: {amqp.said(error)}")
        if self._leaving:
            self.loop.stop()
        self.dispatch()

    def _end(self, connection: Opaque, why: str) -> None:
        if connection is not self._connection:
            return  # its end was dealt with when it was dropped
        channels, self._channels = self._channels, None
        self._connection = None
        self._not_before = time.monotonic() + RECONNECT_PAUSE
        self._blocked = ""
        if channels is None:
            return
        under_way, waiting = channels.end()
        for delivery in under_way:
            delivery.answer(Refusal(why + MAY_HAVE_ARRIVED))
        for delivery in reversed(waiting):
            delivery.alone = False
            self.waiting.appendleft(delivery)

    def _refuse_waiting(self, why: str, *, unreachable: bool = False) -> None:
        while self.waiting:
            request = self.waiting.popleft()
            sent = isinstance(request, Delivery) and request.sent
            reason = why + MAY_HAVE_ARRIVED if sent else why
            request.answer(Refusal(reason, unreachable=unreachable))

    def _on_blocked(self, _connection: Opaque, frame: Opaque) -> None:
        self._blocked = " ".join(str(frame.method.reason).split()) or "it gave no reason"

    def _on_unblocked(self, _connection: Opaque, _frame: Opaque) -> None:
        self._blocked = ""
        self.dispatch()
