"""The channels of one connection, and which message goes over which.

Whatever RabbitMQ dislikes (an exchange that is not there, a body over its limit, a permission) it answers by
closing the channel, and drops without a word what else was written to it. So a message has a channel to
itself until its exchange has proven itself; there it alone is hit. All others share one channel, whose
confirms come in groups. Should the broker close that one all the same, what had no answer is sent again, each
on a channel of its own, where the culprit shows; only then can a message arrive twice.
"""

import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from at_worker import text
from at_worker.executors.rabbitmq.amqp import NoFreeChannels, Opaque
from at_worker.executors.rabbitmq.channel import Channel, Events
from at_worker.executors.rabbitmq.message import Delivery, Refusal
from at_worker.executors.rabbitmq.standing import PRECONDITION_FAILED, Standing

log = logging.getLogger(__name__)


class Channels:
    """Opened as needed and used again; `freed` is called when one can take what waits."""

    def __init__(self, connection: Opaque, target: str, freed: Callable[[], None]) -> None:
        self._connection = connection
        self._target = target
        self._freed = freed
        self._events = Events(self._on_ready, self._on_confirmed, self._on_closed)
        self._standing = Standing()
        self._opening: set[Channel] = set()
        self._open: set[Channel] = set()
        self._idle: list[Channel] = []
        self._shared: Channel | None = None
        self._waiting: deque[Delivery] = deque()

    @property
    def is_busy(self) -> bool:
        """Whether the shared channel waits for the broker."""
        return self._shared is not None and not self._shared.is_unused

    def send(self, delivery: Delivery) -> None:
        """Write a delivery now, or with `send_waiting` where it has to have a channel of its own."""
        if shared := self._shared_for(delivery):
            self._write(shared, delivery)
        else:
            self._waiting.append(delivery)

    def send_waiting(self) -> None:
        """Write what waits for a channel of its own, as far as there are any, and open more for the rest."""
        while self._waiting and (self._waiting[0].is_answered or self._idle):
            delivery = self._waiting.popleft()
            if not delivery.is_answered:
                self._write(self._idle.pop(), delivery)
        # A broker may allow fewer channels than messages; those over the number wait for one to come free.
        with suppress(NoFreeChannels):
            while len(self._opening) < len(self._waiting):
                self._opening.add(Channel(self._connection, self._target, self._events))

    def abandon(self, delivery: Delivery) -> None:
        """Let go of a delivery that nobody waits for; a confirm that still comes finds no one."""
        for channel in self._open:
            if channel.let_go(delivery):
                self._retire(channel)
                break

    def end(self) -> tuple[list[Delivery], list[Delivery]]:
        """Give up, with the connection lost: what was under way, and what waits."""
        under_way = [delivery for channel in self._open for delivery in channel.take_all()]
        return under_way, list(self._waiting)

    def _shared_for(self, delivery: Delivery) -> Channel | None:
        if delivery.alone or not self._standing.may_share(delivery.message):
            return None
        # Not the only channel: a broker may allow no second one, for those that must be alone.
        if self._shared is None and self._idle and len(self._open) > 1:
            self._shared = self._idle.pop()
            self._shared.shared = True
        if self._shared and not self._shared.holds_like(delivery.message):
            return self._shared
        return None

    def _write(self, channel: Channel, delivery: Delivery) -> None:
        if channel.fits(delivery.message):
            try:
                channel.write(delivery)
                return
            except Exception as error:
                log.exception("cannot write a message to %s", self._target)
                refusal = Refusal(f"cannot be written to {self._target}: {text.one_line(error)}")
        else:
            why = f"its headers are longer than a frame to {self._target} may be"
            refusal = Refusal(why, permanent=True)
        delivery.answer(refusal)
        if not channel.shared:
            self._idle.append(channel)

    def _retire(self, channel: Channel) -> None:
        """Use a channel no more that may never confirm what it was given: what it remembers would grow."""
        if channel is self._shared:
            self._shared = None
        if channel.is_unused:
            self._open.discard(channel)
            channel.close()

    def _on_ready(self, channel: Channel) -> None:
        self._opening.discard(channel)
        self._open.add(channel)
        self._idle.append(channel)
        self._freed()

    def _on_confirmed(self, channel: Channel, deliveries: list[Delivery]) -> None:
        if channel is self._shared or not deliveries:
            return
        if channel.shared:
            self._retire(channel)
            return
        for delivery in deliveries:
            self._standing.confirmed(delivery.message)
        self._idle.append(channel)
        self._freed()

    def _on_closed(self, channel: Channel, code: int, said: str) -> None:
        self._opening.discard(channel)
        if channel in self._idle:
            self._idle.remove(channel)
        if channel is self._shared:
            self._shared = None
        if code:
            self._open.discard(channel)
            self._settle(channel, code, said)
        self._freed()

    def _settle(self, channel: Channel, code: int, said: str) -> None:
        deliveries = channel.take_all()
        if channel.shared:
            self._standing.doubt(delivery.message for delivery in deliveries)
            for delivery in deliveries:
                delivery.alone = True
            self._waiting.extendleft(reversed(deliveries))
            return
        for delivery in deliveries:
            self._standing.refused(delivery.message, code)
            refusal = Refusal(f"{self._target} refused the message: {said}", code == PRECONDITION_FAILED)
            delivery.answer(refusal)
