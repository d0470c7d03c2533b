"""A message on its way to RabbitMQ, between who asks for it and the thread that writes it."""

from collections.abc import Callable, Mapping
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


Answered = Callable[["Refusal | None"], object]


class Request:
    """Somebody waits for an answer until `deadline`, for the connection itself unless it is a Delivery.

    `answered` hears the answer, in the thread of the connection: None says that it is done.
    """

    __slots__ = ("_answered", "deadline", "is_answered")

    def __init__(self, deadline: float, answered: Answered) -> None:
        self._answered = answered
        self.deadline = deadline
        self.is_answered = False

    def answer(self, refusal: Refusal | None) -> None:
        """End the wait; what comes later says nothing new."""
        if not self.is_answered:
            self.is_answered = True
            self._answered(refusal)


class Delivery(Request):
    """One message under way, whose further marks are the connection's.

    They say whether it was `sent` at all, whether it must have a channel `alone`, and why it was `returned`.
    """

    __slots__ = ("alone", "message", "returned", "sent")

    def __init__(self, message: Message, deadline: float, answered: Answered) -> None:
        super().__init__(deadline, answered)
        self.message = message
        self.sent = False
        self.alone = False
        self.returned = ""
