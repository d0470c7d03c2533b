"""A channel in confirm mode: what is under way on it, and which answer of the broker belongs to what."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from at_worker.executors.rabbitmq import amqp
from at_worker.executors.rabbitmq.amqp import Opaque
from at_worker.executors.rabbitmq.message import Delivery, Message, Refusal


@dataclass(frozen=True, slots=True)
class Events:
    """What the owner of channels hears: one is open, has confirmed deliveries, or is closed.

    `closed` gets the code and the text of a broker that closed it, and 0 where anything else did.
    """

    ready: Callable[["Channel"], None]
    confirmed: Callable[["Channel", list[Delivery]], None]
    closed: Callable[["Channel", int, str], None]


class Channel:
    """Opened when made. Raises NoFreeChannels.

    The broker numbers what it gets on a channel and confirms by number; a message that it cannot route it
    sends back before it confirms it. `shared` is the owner's note.
    """

    def __init__(self, connection: Opaque, target: str, events: Events) -> None:
        self._target = target
        self._events = events
        self._sent = 0
        self._under_way: dict[int, Delivery] = {}
        self._marked: dict[tuple[str, str, str], Delivery] = {}
        self.shared = False
        self._channel = connection.channel(on_open_callback=self._on_open)
        self._channel.add_on_close_callback(self._on_close)

    @property
    def is_unused(self) -> bool:
        return not self._under_way

    def holds_like(self, message: Message) -> bool:
        """Whether a message is under way that looks the same when it is returned: of an earlier attempt."""
        return message.mark in self._marked

    def fits(self, message: Message) -> bool:
        return amqp.fits(self._channel, message)

    def write(self, delivery: Delivery) -> None:
        """Publish; whatever is raised, nothing was sent."""
        amqp.publish(self._channel, delivery.message)
        delivery.sent = True
        self._sent += 1
        self._under_way[self._sent] = delivery
        self._marked[delivery.message.mark] = delivery

    def let_go(self, delivery: Delivery) -> bool:
        """Forget a delivery, whose confirm will find nobody; whether it was here."""
        tags = [tag for tag, held in self._under_way.items() if held is delivery]
        self._take(tags)
        return bool(tags)

    def take_all(self) -> list[Delivery]:
        """Give up what has no answer yet, in the order in which it was sent."""
        return self._take(list(self._under_way))

    def close(self) -> None:
        if self._channel.is_open:
            self._channel.close()

    def _take(self, tags: Iterable[int]) -> list[Delivery]:
        taken = [self._under_way.pop(tag) for tag in tags]
        for delivery in taken:
            del self._marked[delivery.message.mark]
        return taken

    def _on_open(self, channel: Opaque) -> None:
        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(self._on_confirm, self._on_ready)

    def _on_ready(self, _frame: Opaque) -> None:
        self._events.ready(self)

    def _on_return(self, _channel: Opaque, method: Opaque, properties: Opaque, _body: bytes) -> None:
        mark = properties.message_id, method.exchange, method.routing_key
        if delivery := self._marked.get(mark):
            delivery.returned = f"{method.reply_code} {method.reply_text}"

    def _on_confirm(self, frame: Opaque) -> None:
        deliveries = self._take(self._confirmed(frame.method.delivery_tag, multiple=frame.method.multiple))
        for delivery in deliveries:
            if amqp.is_nack(frame):
                delivery.answer(Refusal(f"{self._target} refused the message (nack)"))
            elif delivery.returned:
                delivery.answer(Refusal(f"{self._target} returned the message: {delivery.returned}"))
            else:
                delivery.answer(None)
        self._events.confirmed(self, deliveries)

    def _confirmed(self, last: int, *, multiple: bool) -> list[int]:
        """The tags that a confirm means, of those under way."""
        if not multiple:
            return [last] if last in self._under_way else []
        return [tag for tag in self._under_way if tag <= last]

    def _on_close(self, _channel: Opaque, error: BaseException) -> None:
        self._events.closed(self, amqp.broker_code(error), amqp.said(error))
