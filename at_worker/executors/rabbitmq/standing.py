"""Which messages may share a channel: those over which the broker will not close it."""

from collections.abc import Iterable
from enum import Enum, auto

from at_worker.executors.rabbitmq.message import Message

LONGEST_SHARED = 131_072  # bytes of a body; a longer one would hold up the others
MOST_EXCHANGES = 1_000
PRECONDITION_FAILED = 406  # about the message itself, such as its length, and not about its exchange


class Trust(Enum):
    """What is known of an exchange."""

    PROVEN = auto()
    DOUBTED = auto()
    FALLEN = auto()


class Standing:
    """What the exchanges of one connection have shown so far.

    An exchange is trusted once the broker has confirmed a message to it. One at which the broker then closes
    a channel all the same (it was deleted, or not every routing key is allowed) has fallen: trusted again,
    it could have bystanders published twice again.
    """

    def __init__(self) -> None:
        self._exchanges: dict[str, Trust] = {}
        self._longest = LONGEST_SHARED

    def may_share(self, message: Message) -> bool:
        known = self._exchanges.get(message.exchange)
        return known is Trust.PROVEN and len(message.body) <= self._longest

    def confirmed(self, message: Message) -> None:
        """The broker took, returned or nacked a message; in any case the exchange is there."""
        known = self._exchanges.get(message.exchange)
        # Payloads choose the names, so their number is bounded.
        if known is Trust.DOUBTED or (known is None and len(self._exchanges) < MOST_EXCHANGES):
            self._exchanges[message.exchange] = Trust.PROVEN

    def doubt(self, messages: Iterable[Message]) -> None:
        """The broker closed a channel that these shared: one of them is the reason."""
        for message in messages:
            if self._exchanges.get(message.exchange) is Trust.PROVEN:
                self._exchanges[message.exchange] = Trust.DOUBTED

    def refused(self, message: Message, code: int) -> None:
        """The broker closed a channel over this message alone."""
        if code == PRECONDITION_FAILED:
            self._longest = min(self._longest, len(message.body) - 1)
        elif message.exchange in self._exchanges:
            self._exchanges[message.exchange] = Trust.FALLEN
