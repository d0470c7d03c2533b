"""pika, which enters here: the settings of a connection, how frames are written, and what errors say."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
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

from at_worker.config import ConfigError
from at_worker.executors.rabbitmq.message import Message

__all__ = ["IOLoop", "NoFreeChannels", "Opaque", "Wire"]

HEARTBEAT = 15  # seconds; a dead connection goes unnoticed for at most about twice as long
OTHER_PROPERTIES = 2_560  # bounds what the properties take in their frame beside the payload's headers
LONGEST_WRITE = 65_536  # bytes; pika copies what the socket did not take of a write

# What pika would log, several times over and as errors, is in the refusals.
logging.getLogger("pika").setLevel(logging.CRITICAL)

Opaque = Any  # pika has no types


class Wire(pika.SelectConnection):  # type: ignore[misc] # pika has no types
    """A connection that can write the frames of many messages in one go.

    pika itself makes three system calls a message, which cost more than all else that it does for it.
    """

    _gathered: bytearray | None = None

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Write what is sent within the block at its end, or in pieces where it is long."""
        self._gathered = bytearray()
        try:
            yield
        finally:
            self._write_gathered()
            self._gathered = None

    def _adapter_emit_data(self, data: bytes) -> None:
        # Where pika's adapters are asked to write; they are meant to override it.
        if self._gathered is None:
            super()._adapter_emit_data(data)
            return
        self._gathered += data
        if len(self._gathered) >= LONGEST_WRITE:
            self._write_gathered()

    def _write_gathered(self) -> None:
        if self._gathered:
            written, self._gathered = bytes(self._gathered), bytearray()
            super()._adapter_emit_data(written)


def parameters(url: str, name: str) -> Opaque:
    """How to connect. Raises ConfigError for a URL that pika cannot use."""
    try:
        chosen = pika.URLParameters(url)
    except Exception:  # noqa: BLE001 - pika raises many kinds, and their texts hold parts of the URL
        raise ConfigError(["RABBITMQ_URL: its value has a wrong port, user or option"]) from None
    chosen.connection_attempts = 1
    if chosen.heartbeat is None:
        chosen.heartbeat = HEARTBEAT
    chosen.client_properties = {"connection_name": name} | (chosen.client_properties or {})
    return chosen


def publish(channel: Opaque, message: Message) -> None:
    """Send a message; whatever is raised, nothing of it was sent."""
    properties = pika.BasicProperties(**message.properties)
    channel.basic_publish(message.exchange, message.routing_key, message.body, properties, mandatory=True)


def fits(channel: Opaque, message: Message) -> bool:
    """Whether the properties fit the one frame they travel in; a longer one costs the whole connection."""
    return bool(message.header_bytes + OTHER_PROPERTIES <= channel.connection.params.frame_max)


def is_nack(frame: Opaque) -> bool:
    return isinstance(frame.method, Basic.Nack)


def broker_code(error: BaseException) -> int:
    """The code with which the broker closed a channel; 0 where anything else did."""
    return error.reply_code if isinstance(error, ChannelClosedByBroker) else 0


def said(error: BaseException) -> str:
    """What an error of pika says at its core: a connector wraps the cause three times."""
    while True:
        wrapped = (*getattr(error, "exceptions", ())[-1:], getattr(error, "exception", None), *error.args)
        cause = next((cause for cause in wrapped if isinstance(cause, BaseException)), None)
        if cause is None:
            break
        error = cause
    match error:
        case ChannelClosed() | ConnectionClosed():
            words = f"{error.reply_code} {error.reply_text}"
        case AMQPConnectorStackTimeout() | ConnectionOpenAborted() | TimeoutError():
            words = "no answer in time"
        case IncompatibleProtocolError():
            words = "it hung up during the handshake"
        case OSError() if error.strerror:
            words = error.strerror
        case _:
            words = next((part for part in error.args if isinstance(part, str)), type(error).__name__)
    return " ".join(words.split())
