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

    @property
    def mark(self) -> tuple[str, str, str]:
        """What the broker repeats of a message that it returns."""
        return self.properties["message_id"], self.exchange, self.routing_key


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a message is not known to be in a queue.

    `permanent` where the message itself is at fault, `unreachable` where no connection came about.
    """

    reason: str
    permanent: bool = False
    unreachable: bool = False


class Request:
    """Somebody waits, for the connection itself unless it is a Delivery; `abandoned` once time is over."""

    __slots__ = ("_answered", "abandoned", "refusal")

    def __init__(self) -> None:
        # A bare lock: an Event is three objects in Python, and waits on a lock in the end.
        self._answered = threading.Lock()
        self._answered.acquire()
        self.refusal: Refusal | None = None
        self.abandoned = False

    def answer(self, refusal: Refusal | None) -> None:
        """End the wait, once; None: it is done."""
        self.refusal = refusal
        self._answered.release()

    def wait(self, seconds: float) -> bool:
        """Wait for the answer; whether it came."""
        return self._answered.acquire(timeout=max(0.0, seconds))


class Delivery(Request):
    """One message under way, whose further marks are the connection's.

    They say whether it was `sent` at all, whether it must have a channel `alone`, and why it was `returned`.
    """

    __slots__ = ("alone", "message", "returned", "sent")

    def __init__(self, message: Message) -> None:
        super().__init__()
        self.message = message
        self.sent = False
        self.alone = False
        self.returned = ""
