"""The connection to RabbitMQ, as the one thread that runs it sees it, and the one module that knows pika.

A message has a channel to itself while it is under way. Whatever RabbitMQ dislikes (an exchange that is not
there, a body over its limit, a permission) it answers by closing the channel, and drops without a word what
else was written to it. On a channel of its own that message alone is hit: nobody has to find the culprit,
and no bystander is published twice. Channels are kept and used again, so there are as many as messages were
ever under way at once. Confirms come one by one instead of in groups, which costs a tenth to a fifth of the
rate that one shared channel reaches.
"""

import logging
import time
from collections import deque
from contextlib import suppress
from functools import partial
from typing import Any

import pika
from pika.adapters.select_connection import IOLoop
from pika.adapters.utils.connection_workflow import AMQPConnectorStackTimeout
from pika.exceptions import (
    ChannelClosed,
    ChannelClosedByBroker,
    ConnectionClosed,
    ConnectionOpenAborted,
    IncompatibleProtocolError,
    NoFreeChannels,
)
from pika.spec import Basic

from at_worker import text
from at_worker.config import ConfigError
from at_worker.executors.rabbitmq.message import Delivery, Refusal

HEARTBEAT = 15  # seconds; a dead connection goes unnoticed for at most about twice as long
RECONNECT_PAUSE = 1.0
OTHER_PROPERTIES = 2_560  # bounds what the properties take in their frame beside the payload's headers

log = logging.getLogger(__name__)
# What pika would log, several times over and as errors, is in the refusals.
logging.getLogger("pika").setLevel(logging.CRITICAL)

Opaque = Any  # pika has no types


class Connection:
    """Opened when a delivery waits, again after a failure; all but `waiting` and `trouble` is the loop's.

    Raises ConfigError for a URL that pika cannot use.
    """

    def __init__(self, url: str, name: str) -> None:
        self._parameters = _parameters(url, name)
        self.target = f"{self._parameters.host}:{self._parameters.port}"
        self.banner = ""
        self.loop = IOLoop()
        self.waiting: deque[Delivery] = deque()
        self._connection: Opaque = None
        self._not_before = 0.0
        self._blocked = ""
        self._opening: set[Opaque] = set()
        self._idle: list[Opaque] = []
        self._busy: dict[Opaque, Delivery] = {}
        self._leaving = False

    def trouble(self, delivery: Delivery) -> str:
        """Say what a delivery without an answer waits for; any thread may ask."""
        connection = self._connection
        if connection is None or not connection.is_open:
            return f"no connection to {self.target} in time"
        fate = "it may have arrived" if delivery.channel else "it was not sent"
        if self._blocked:
            return f"{self.target} blocks publishers: {self._blocked}; {fate}"
        if not delivery.channel:
            return f"no free channel to {self.target} in time; {fate}"
        return f"{self.target} did not confirm the message in time; {fate}"

    def dispatch(self) -> None:
        """Write what can be written; whatever may allow more comes back here."""
        while self.waiting:
            if self.waiting[0].abandoned:
                self.waiting.popleft()
            elif self._connection is None:
                return self._connect()
            elif self._blocked or not self._connection.is_open:
                return None
            elif self.waiting[0].message is None:
                self.waiting.popleft().answer(None)
            elif not self._idle:
                return self._open_channels()
            else:
                self._write(self._idle.pop(), self.waiting.popleft())
        return None

    def abandon(self, delivery: Delivery) -> None:
        """Let go of a delivery that nobody waits for; a confirm that still comes finds no one."""
        # Its confirm may have come first, and the channel may carry another by now.
        if self._busy.get(delivery.channel) is delivery:
            del self._busy[delivery.channel]
            if delivery.channel.is_open:
                delivery.channel.close()
        self.dispatch()

    def drop(self, why: str) -> None:
        """Cut the connection without a goodbye; the next delivery opens another."""
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

    def _connect(self) -> None:
        pause = self._not_before - time.monotonic()
        if pause > 0:
            # A broker that is away is asked once a second, however many deliveries wait.
            self.loop.call_later(pause, self.dispatch)
            return
        self._connection = pika.SelectConnection(
            self._parameters, self._on_open, self._on_open_error, self._on_close, custom_ioloop=self.loop
        )

    def _on_open(self, connection: Opaque) -> None:
        server = connection.server_properties
        vhost = self._parameters.virtual_host
        self.banner = f"{server.get('product')} {server.get('version')} at {self.target}, vhost {vhost}"
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        self.dispatch()

    def _on_open_error(self, connection: Opaque, error: BaseException) -> None:
        if connection is self._connection:
            why = f"cannot connect to {self.target}: {_said(error)}"
            self._end(connection, why)
            self._refuse_waiting(why)
        if self._leaving:
            self.loop.stop()

    def _on_close(self, connection: Opaque, error: BaseException) -> None:
        self._end(connection, f"connection to {self.target} lost: {_said(error)}")
        if self._leaving:
            self.loop.stop()
        self.dispatch()

    def _end(self, connection: Opaque, why: str) -> None:
        if connection is not self._connection:
            return  # its end was dealt with when it was dropped
        self._connection = None
        self._not_before = time.monotonic() + RECONNECT_PAUSE
        self._blocked = ""
        self._opening.clear()
        self._idle.clear()
        busy, self._busy = self._busy, {}
        for delivery in busy.values():
            delivery.answer(Refusal(f"{why}; the message may have arrived"))

    def _refuse_waiting(self, why: str) -> None:
        while self.waiting:
            self.waiting.popleft().answer(Refusal(why))

    def _on_blocked(self, _connection: Opaque, frame: Opaque) -> None:
        self._blocked = " ".join(str(frame.method.reason).split()) or "it gave no reason"

    def _on_unblocked(self, _connection: Opaque, _frame: Opaque) -> None:
        self._blocked = ""
        self.dispatch()

    def _open_channels(self) -> None:
        # A broker may allow fewer channels than messages; those over the number wait for one to come free.
        with suppress(NoFreeChannels):
            while len(self._opening) < len(self.waiting):
                channel = self._connection.channel(on_open_callback=self._on_channel)
                channel.add_on_close_callback(self._on_channel_close)
                self._opening.add(channel)

    def _on_channel(self, channel: Opaque) -> None:
        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(partial(self._on_confirm, channel), partial(self._on_ready, channel))

    def _on_ready(self, channel: Opaque, _frame: Opaque) -> None:
        self._opening.discard(channel)
        self._idle.append(channel)
        self.dispatch()

    def _write(self, channel: Opaque, delivery: Delivery) -> None:
        message = delivery.message
        assert message is not None  # noqa: S101 - dispatch has answered the others
        if message.header_bytes + OTHER_PROPERTIES > self._connection.params.frame_max:
            # Properties travel in one frame, and a frame that is too long costs the whole connection.
            self._idle.append(channel)
            why = f"its headers are longer than a frame to {self.target} may be"
            delivery.answer(Refusal(why, permanent=True))
            return
        delivery.channel = channel
        self._busy[channel] = delivery
        try:
            address = message.exchange, message.routing_key
            properties = pika.BasicProperties(**message.properties)
            channel.basic_publish(*address, message.body, properties, mandatory=True)
        except Exception as error:
            log.exception("cannot write a message to %s", self.target)
            delivery.answer(Refusal(f"cannot be written to {self.target}: {text.one_line(error)}"))
            self.abandon(delivery)

    def _on_return(self, channel: Opaque, method: Opaque, _properties: Opaque, _body: bytes) -> None:
        if delivery := self._busy.get(channel):
            delivery.returned = f"{method.reply_code} {method.reply_text}"

    def _on_confirm(self, channel: Opaque, frame: Opaque) -> None:
        delivery = self._busy.pop(channel, None)
        if delivery is None:
            return
        if isinstance(frame.method, Basic.Nack):
            delivery.answer(Refusal(f"{self.target} refused the message (nack)"))
        elif delivery.returned:
            delivery.answer(Refusal(f"{self.target} returned the message: {delivery.returned}"))
        else:
            delivery.answer(None)
        self._idle.append(channel)
        self.dispatch()

    def _on_channel_close(self, channel: Opaque, error: BaseException) -> None:
        self._opening.discard(channel)
        if channel in self._idle:
            self._idle.remove(channel)
        if isinstance(error, ChannelClosedByBroker) and (delivery := self._busy.pop(channel, None)):
            # 406 PRECONDITION_FAILED is about the message: too large, or a property that cannot be.
            refusal = Refusal(f"{self.target} refused the message: {_said(error)}", error.reply_code == 406)
            delivery.answer(refusal)
        self.dispatch()


def _parameters(url: str, name: str) -> Opaque:
    try:
        parameters = pika.URLParameters(url)
    except Exception:  # noqa: BLE001 - pika raises many kinds, and their texts hold parts of the URL
        raise ConfigError(["RABBITMQ_URL: its value has a wrong port, user or option"]) from None
    parameters.connection_attempts = 1
    if parameters.heartbeat is None:
        parameters.heartbeat = HEARTBEAT
    parameters.client_properties = {"connection_name": name} | (parameters.client_properties or {})
    return parameters


def _said(error: BaseException) -> str:
    """What an error of pika says at its core: a connector wraps the cause three times."""
    while True:
        wrapped = (*getattr(error, "exceptions", ())[-1:], getattr(error, "exception", None), *error.args)
        cause = next((cause for cause in wrapped if isinstance(cause, BaseException)), None)
        if cause is None:
            break
        error = cause
    match error:
        case ChannelClosed() | ConnectionClosed():
            said = f"{error.reply_code} {error.reply_text}"
        case AMQPConnectorStackTimeout() | ConnectionOpenAborted() | TimeoutError():
            said = "no answer in time"
        case IncompatibleProtocolError():
            said = "it hung up during the handshake"
        case OSError() if error.strerror:
            said = error.strerror
        case _:
            said = next((part for part in error.args if isinstance(part, str)), type(error).__name__)
    return " ".join(said.split())
