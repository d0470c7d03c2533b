"""The least that a client of RabbitMQ can do: `python -m bench.prepared COUNT WINDOW URL QUEUE`.

It writes the same bytes over and over and keeps WINDOW messages under way: what it takes the broker to
confirm a message, with a client that costs next to nothing. Prints when each was confirmed.
"""

import json
import socket
import sys
import time

import pika
from pika import frame, spec

from bench.bare import BODY

CHANNEL = 1


class Wire:
    """A connection in confirm mode, frame by frame."""

    def __init__(self, url: str) -> None:
        where = pika.URLParameters(url)
        self._socket = socket.create_connection((where.host, where.port))
        self._unread = b""
        self._confirmed = 0
        login = f"\0{where.credentials.username}\0{where.credentials.password}"
        self._socket.sendall(frame.ProtocolHeader().marshal())
        self._awaited(spec.Connection.Start)
        self._say(0, spec.Connection.StartOk(client_properties={}, response=login))
        tune = self._awaited(spec.Connection.Tune)
        self._say(0, spec.Connection.TuneOk(tune.channel_max, tune.frame_max, 0))
        self._say(0, spec.Connection.Open(where.virtual_host))
        self._awaited(spec.Connection.OpenOk)
        self._say(CHANNEL, spec.Channel.Open())
        self._awaited(spec.Channel.OpenOk)
        self._say(CHANNEL, spec.Confirm.Select())
        self._awaited(spec.Confirm.SelectOk)

    def write(self, frames: bytes) -> None:
        self._socket.sendall(frames)

    def confirmed(self) -> int:
        """The number of the message up to which all are confirmed now."""
        ack = self._awaited(spec.Basic.Ack)
        if not ack.multiple and ack.delivery_tag != self._confirmed + 1:
            raise ConnectionError("the broker does not confirm in order")
        self._confirmed = int(ack.delivery_tag)
        return self._confirmed

    def _say(self, channel: int, method: object) -> None:
        self.write(frame.Method(channel, method).marshal())

    def _awaited(self, kind: type) -> spec.Basic.Ack:
        while True:
            length, found = frame.decode_frame(self._unread)
            if found is None:
                if not (received := self._socket.recv(65_536)):
                    raise ConnectionError("the broker hung up")
                self._unread += received
                continue
            self._unread = self._unread[length:]
            if not isinstance(found.method, kind):
                raise ConnectionError(f"the broker said {found.method.NAME}, not {kind.__name__}")
            return found.method


def message(queue: str) -> bytes:
    """The frames of one message, with the properties that at-worker's have."""
    properties = spec.BasicProperties(
        content_type="application/json",
        delivery_mode=2,
        message_id="0195f8a0-0000-7000-8000-000000000000",
        timestamp=int(time.time()),
        app_id="at-worker",
        headers={
            "x-at-worker-task-id": 1_000_000,
            "x-at-worker-attempt": 1,
            "x-at-worker-scheduled-at": "2026-12-01T00:00:00.000+00:00",
        },
    )
    publish = spec.Basic.Publish(exchange="", routing_key=queue, mandatory=True)
    parts = (
        frame.Method(CHANNEL, publish),
        frame.Header(CHANNEL, len(BODY), properties),
        frame.Body(CHANNEL, BODY),
    )
    return b"".join(part.marshal() for part in parts)


def main() -> None:
    """Publish all: the window at first, then a quarter of it whenever that much is confirmed."""
    count, window = map(int, sys.argv[1:3])
    url, queue = sys.argv[3:]
    wire, frames = Wire(url), message(queue)
    ended: list[float] = []
    sent = 0
    while len(ended) < count:
        more = min(window - (sent - len(ended)), count - sent)
        if more >= window // 4 or (more and sent + more == count):
            wire.write(frames * more)
            sent += more
        ended += [time.time()] * (wire.confirmed() - len(ended))
    json.dump(ended, sys.stdout)


if __name__ == "__main__":
    main()
