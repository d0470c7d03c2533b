from decimal import Decimal
from typing import Any

import pytest

from at_worker.executors.rabbitmq.executor import parse
from at_worker.jsontext import Json
from at_worker.plugin import InvalidPayload


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        (None, "payload"),
        ([], "payload"),
        ("queue", "payload"),
        ({}, "exchange"),
        ({"data": 1}, "exchange"),
        ({"routing_key": "k"}, "exchange"),
        ({"exchange": None, "routing_key": "k"}, "exchange"),
        ({"exchange": 1, "routing_key": "k"}, "exchange"),
        ({"exchange": "e"}, "routing_key"),
        ({"exchange": "e", "routing_key": 5}, "routing_key"),
        ({"exchange": "", "routing_key": ""}, "routing_key"),
        ({"exchange": "e" * 256, "routing_key": "k"}, "exchange"),
        ({"exchange": "e", "routing_key": "ü" * 128}, "routing_key"),
        ({"exchange": "e\n", "routing_key": "k"}, "exchange"),
        ({"queue": ""}, "queue"),
        ({"queue": ["q"]}, "queue"),
        ({"queue": "q\x00"}, "queue"),
        ({"queue": "q", "headers": {"a\r\nb": 1}}, "headers"),
        ({"queue": "q", "headers": {"a": "x\ny"}}, "headers.a"),
        ({"queue": "q", "headers": {"a": [{"b": "x\x85"}]}}, "headers.a[0].b"),
        ({"queue": "q", "content_type": "a/b\r\n"}, "content_type"),
        ({"queue": "q", "correlation_id": "\x7f"}, "correlation_id"),
        ({"queue": "q", "type": "\u2028"}, "type"),
        ({"queue": "\ud800"}, "queue"),
        ({"queue": "q", "exchange": "e"}, "queue"),
        ({"queue": "q", "routing_key": "k"}, "queue"),
        ({"queue": "q" * 256}, "queue"),
        ({"queue": "q", "data": "\ud800"}, "data"),
        ({"queue": "q", "priority": -1}, "priority"),
        ({"queue": "q", "priority": 256}, "priority"),
        ({"queue": "q", "priority": "5"}, "priority"),
        ({"queue": "q", "priority": True}, "priority"),
        ({"queue": "q", "priority": Decimal("1.5")}, "priority"),
        ({"queue": "q", "expiration": -1}, "expiration"),
        ({"queue": "q", "expiration": "-1"}, "expiration"),
        ({"queue": "q", "expiration": "1s"}, "expiration"),
        ({"queue": "q", "expiration": ""}, "expiration"),
        ({"queue": "q", "expiration": "²"}, "expiration"),
        ({"queue": "q", "expiration": Decimal("1.5")}, "expiration"),
        ({"queue": "q", "expiration": False}, "expiration"),
        ({"queue": "q", "expiration": 2**32}, "expiration"),
        ({"queue": "q", "expiration": "9" * 5000}, "expiration"),
        ({"queue": "q", "content_type": 1}, "content_type"),
        ({"queue": "q", "correlation_id": 1}, "correlation_id"),
        ({"queue": "q", "correlation_id": "x" * 256}, "correlation_id"),
        ({"queue": "q", "reply_to": {}}, "reply_to"),
        ({"queue": "q", "reply_to": "amq.rabbitmq.reply-to"}, "reply_to"),
        ({"queue": "q", "type": []}, "type"),
        ({"queue": "q", "headers": "h"}, "headers"),
        ({"queue": "q", "headers": []}, "headers"),
        ({"queue": "q", "headers": {"n" * 256: 1}}, "headers"),
        ({"queue": "q", "headers": {"\ud800": 1}}, "headers"),
        ({"queue": "q", "headers": {"a": "\ud800"}}, "headers.a"),
        ({"queue": "q", "headers": {"a": 2**63}}, "headers.a"),
        ({"queue": "q", "headers": {"a": Decimal("3.14159265358979")}}, "headers.a"),
        ({"queue": "q", "headers": {"a": Decimal("1E+1000000000")}}, "headers.a"),
        ({"queue": "q", "headers": {"a": Decimal("1E-256")}}, "headers.a"),
        ({"queue": "q", "headers": {"a": Decimal("1." + "0" * 40 + "1")}}, "headers.a"),
        ({"queue": "q", "headers": {"a": Decimal("NaN")}}, "headers.a"),
        ({"queue": "q", "headers": {"a": [1, {"b": 2**64}]}}, "headers.a[1].b"),
        ({"queue": "q", "headers": {"a": "x" * 130_000}}, "headers"),
        ({"queue": "q", "headers": {"X-At-Worker-Task-Id": 1}}, "headers.X-At-Worker-Task-Id"),
        ({"queue": "q", "headers": {"x-at-worker-attempt": 1}}, "headers.x-at-worker-attempt"),
        ({"queue": "q", "headers": {"CC": "other"}}, "headers.CC"),
        ({"queue": "q", "headers": {"BCC": [1]}}, "headers.BCC"),
    ],
)
def test_a_broken_payload_names_its_field(payload: Json, field: str) -> None:
    with pytest.raises(InvalidPayload) as caught:
        parse(payload)
    assert caught.value.field == field


def test_headers_nested_without_end_are_refused() -> None:
    nested: Any = []
    for _ in range(2000):
        nested = [nested]
    with pytest.raises(InvalidPayload, match="nested"):
        parse({"queue": "q", "headers": {"a": nested}})


def test_unknown_keys_and_a_user_id_are_ignored() -> None:
    publication = parse({"queue": "q", "data": 1, "user_id": "root", "delivery_mode": 1, "url": "amqp://x"})
    assert set(publication.properties) == {"content_type"}


@pytest.mark.parametrize(
    ("given", "sent"), [(0, "0"), ("0600", "600"), (2**32 - 1, "4294967295"), (None, None)]
)
def test_an_expiration_is_whole_milliseconds(given: Json, sent: str | None) -> None:
    assert parse({"queue": "q", "expiration": given}).properties.get("expiration") == sent
