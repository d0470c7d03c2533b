"""A message on its way to RabbitMQ, between the thread that waits for it and the thread that writes it."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Message:
    """What is published where: `properties` by their AMQP names, `header_bytes` how long the headers are."""

    exchange: str
    routing_key: str
    body: bytes
    properties: Mapping[str, Any]
    header_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a message is not known to be in a queue; `permanent` where the message itself is at fault."""

    reason: str
    permanent: bool = False


class Delivery:
    """One message under way; a `message` of None asks only for the connection.

    `answered` is set once, with `refusal` None where the broker took the message. `abandoned` is set by the
    thread that waited once its time is over; `channel` and `returned` belong to the connection.
    """

    __slots__ = ("abandoned", "answered", "channel", "message", "refusal", "returned")

    def __init__(self, message: Message | None) -> None:
        self.message = message
        self.answered = threading.Event()
        self.refusal: Refusal | None = None
        self.abandoned = False
        self.channel: Any = None
        self.returned = ""

    def answer(self, refusal: Refusal | None) -> None:
        """End the wait."""
        self.refusal = refusal
        self.answered.set()
