"""`rabbitmq`: publishes `data` to an exchange or a queue; done once the broker has it in a queue."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from at_worker import jsontext, redact
from at_worker.config import Settings
from at_worker.executors import body, fields
from at_worker.executors.rabbitmq import table
from at_worker.executors.rabbitmq.message import Message, Refusal
from at_worker.executors.rabbitmq.publisher import Publisher
from at_worker.jsontext import Json
from at_worker.outcome import Done, Fail, Outcome, Retry
from at_worker.plugin import Attempt, InvalidPayload

LONGEST_SHORT_STRING = 255  # bytes; AMQP 0-9-1, section 4.2.5.3
LONGEST_EXPIRATION = 2**32 - 1  # RabbitMQ's own limit, 49 days
# All properties travel in one frame, of 128 KiB unless an operator chose less.
MOST_HEADER_BYTES = 128_000
RESERVED_HEADERS = "x-at-worker-"
DIRECT_REPLY = "amq.rabbitmq.reply-to"


@dataclass(frozen=True, slots=True)
class Publication:
    """A checked payload; `properties` are those that the payload chooses, by their AMQP names."""

    exchange: str
    routing_key: str
    content: bytes
    headers: Mapping[str, table.Value]
    header_bytes: int
    properties: Mapping[str, str | int]


class RabbitMQ:
    """The executor of `rabbitmq`: one connection for all threads, opened on first use. Raises ConfigError."""

    def __init__(self, settings: Settings) -> None:
        self._timeout = settings.rabbitmq_timeout
        self._publisher = Publisher(settings.rabbitmq_url, f"at-worker {settings.worker_id}")

    def parse(self, payload: Json) -> Publication:
        return parse(payload)

    def destination(self, payload: Publication) -> str:  # noqa: ARG002 - all messages go to one broker
        """The broker."""
        return self._publisher.target

    def execute(self, payload: Publication, attempt: Attempt) -> Future[Outcome]:
        """Publish; the broker's answer ends the attempt."""
        started = time.monotonic()
        outcome: Future[Outcome] = Future()
        self._publisher.publish(
            _message(payload, attempt),
            min(started + self._timeout, attempt.deadline),
            lambda refusal: outcome.set_result(_outcome(refusal, started)),
        )
        return outcome

    def describe(self, payload: Publication, attempt: Attempt) -> str:
        """The broker, the address, the properties, and the body."""
        message = _message(payload, attempt)
        properties = dict(message.properties)
        headers = redact.payload(properties.pop("headers"))
        told = {
            "exchange": message.exchange,
            "routing_key": message.routing_key,
            **properties,
            "headers": headers,
        }
        lines = [
            f"{name}: {value if isinstance(value, str) else jsontext.render(value)}"
            for name, value in told.items()
        ]
        return "\n".join([self._publisher.target, "", *lines, "", message.body.decode()])

    def reach(self) -> str:
        """Connect and name the broker. Raises ConnectionError."""
        return self._publisher.reach(time.monotonic() + self._timeout)

    def close(self) -> None:
        self._publisher.close()


def parse(payload: Json) -> Publication:
    """Check a payload, down to what the broker would refuse. Raises InvalidPayload."""
    given = fields.members(payload)
    exchange, routing_key = _address(given)
    content = body.encode(given.get("data"))
    headers, header_bytes = _headers(given.get("headers"))
    properties = _properties(given, content.content_type)
    return Publication(exchange, routing_key, content.content, headers, header_bytes, properties)


def _outcome(refusal: Refusal | None, started: float) -> Outcome:
    if refusal is None:
        return Done({"confirmed": True, "ms": round((time.monotonic() - started) * 1000)})
    if refusal.permanent:
        return Fail(refusal.reason)
    return Retry(refusal.reason, unreachable=refusal.unreachable)


def _address(given: Mapping[str, Json]) -> tuple[str, str]:
    """Exchange and routing key; a queue is addressed by its name through the default exchange."""
    queue = _short(given, "queue")
    exchange = _short(given, "exchange")
    routing_key = _short(given, "routing_key")
    if queue is not None:
        if exchange is not None or routing_key is not None:
            raise InvalidPayload("queue", "cannot stand beside exchange or routing_key")
        if not queue:
            raise InvalidPayload("queue", "is empty")
        return "", queue
    if exchange is None:
        raise InvalidPayload("exchange", "is missing, and so is queue")
    if routing_key is None:
        raise InvalidPayload("routing_key", "is missing")
    if not exchange and not routing_key:
        raise InvalidPayload("routing_key", "is empty, but names the queue of the default exchange")
    return exchange, routing_key


def _short(given: Mapping[str, Json], name: str) -> str | None:
    value = fields.line(given, name)
    if value is not None and len(fields.utf8(name, value)) > LONGEST_SHORT_STRING:
        raise InvalidPayload(name, f"is longer than the {LONGEST_SHORT_STRING} bytes that AMQP allows")
    return value


def _properties(given: Mapping[str, Json], content_type: str | None) -> dict[str, str | int]:
    """Those that the payload chooses; the media type is that of the body where it chooses none."""
    chosen = {name: read(given, name) for name, read in _READ.items() if name in given}
    chosen["content_type"] = chosen.get("content_type") or content_type
    return {name: value for name, value in chosen.items() if value is not None}


def _priority(given: Mapping[str, Json], name: str) -> int | None:
    return fields.integer(given, name, least=0, most=255)


def _expiration(given: Mapping[str, Json], name: str) -> str | None:
    """Milliseconds in the queue, as a whole number or its digits; AMQP wants a string."""
    value = given[name]
    if value is None:
        return None
    # The length first: int() refuses more than 4,300 digits.
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 10:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LONGEST_EXPIRATION:
        raise InvalidPayload(name, f"must be whole milliseconds from 0 to {LONGEST_EXPIRATION}")
    return str(value)


def _reply_to(given: Mapping[str, Json], name: str) -> str | None:
    value = _short(given, name)
    if value == DIRECT_REPLY:
        raise InvalidPayload(name, "cannot be the direct reply queue: this worker reads no replies")
    return value


# How each property is read. Most payloads choose none, and are spared the look at each.
_READ: Mapping[str, Callable[[Mapping[str, Json], str], str | int | None]] = {
    "content_type": _short,
    "priority": _priority,
    "expiration": _expiration,
    "correlation_id": _short,
    "reply_to": _reply_to,
    "type": _short,
}


def _headers(value: Json) -> tuple[dict[str, table.Value], int]:
    headers = {} if value is None else table.table(value, "headers")
    for name, item in headers.items():
        if name.lower().startswith(RESERVED_HEADERS):
            raise InvalidPayload(f"headers.{name}", "is set by at-worker itself")
        if name in ("CC", "BCC") and not _all_text(item):
            # RabbitMQ routes by these two and closes the channel over any other type.
            raise InvalidPayload(f"headers.{name}", "must be an array of routing keys")
    size = table.size(headers)
    if size > MOST_HEADER_BYTES:
        raise InvalidPayload("headers", f"take more than {MOST_HEADER_BYTES} bytes")
    return headers, size


def _all_text(value: table.Value) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _trace(payload: Publication, attempt: Attempt) -> Mapping[str, str]:
    """What carries the trace on, unless the payload names one itself."""
    return {} if "traceparent" in payload.headers else attempt.trace


def _message(payload: Publication, attempt: Attempt) -> Message:
    # No content_encoding: everything sent is UTF-8, and consumers take the field for a compression.
    ours = {
        "x-at-worker-task-id": attempt.task_id,
        "x-at-worker-attempt": attempt.number,
        "x-at-worker-scheduled-at": attempt.scheduled_at.astimezone(UTC).isoformat(timespec="milliseconds"),
    }
    properties: dict[str, Any] = {
        **payload.properties,
        "headers": {**payload.headers, **_trace(payload, attempt), **ours},
        "delivery_mode": 2,
        "message_id": attempt.task_uid,
        "timestamp": int(time.time()),
        "app_id": "at-worker",
    }
    return Message(payload.exchange, payload.routing_key, payload.content, properties, payload.header_bytes)
