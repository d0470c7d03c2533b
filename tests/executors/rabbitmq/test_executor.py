import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from pika.adapters.blocking_connection import BlockingChannel

from at_worker.executors.rabbitmq import RabbitMQ
from at_worker.jsontext import Json
from at_worker.outcome import Done, Fail, Retry
from tests.executors.rabbitmq.messages import Drain, declare, reason, run, worker
from tests.servers.rabbitmq import Broker, External


def test_a_message_to_a_queue_is_confirmed(rabbitmq: RabbitMQ, queue: str, drain: Drain) -> None:
    outcome = run(rabbitmq, {"queue": queue, "data": "hello"})
    assert isinstance(outcome, Done)
    assert isinstance(outcome.result, dict)
    assert outcome.result["confirmed"] is True
    assert outcome.result["ms"] >= 0
    assert drain(queue) == ["hello"]


def test_a_message_to_an_exchange_is_routed_by_its_key(
    rabbitmq: RabbitMQ, channel: BlockingChannel, queue: str, drain: Drain
) -> None:
    exchange = f"at-worker-test-{uuid4()}"
    channel.exchange_declare(exchange, "topic", auto_delete=True)
    channel.queue_bind(queue, exchange, "orders.*")
    assert isinstance(
        run(rabbitmq, {"exchange": exchange, "routing_key": "orders.new", "data": {"n": 1}}), Done
    )
    assert drain(queue) == ['{"n":1}']


@pytest.mark.parametrize(
    ("data", "body", "content_type"),
    [
        ({"n": 12345678901234567890}, '{"n":12345678901234567890}', "application/json"),
        ([Decimal("1.50"), True], "[1.50,true]", "application/json"),
        ("line\r\nGrüße", "line\r\nGrüße", "text/plain; charset=utf-8"),
        ('{"raw": 1.0}', '{"raw": 1.0}', "application/json"),
        (None, "", None),
    ],
)  # fmt: skip
def test_data_arrives_byte_for_byte(
    rabbitmq: RabbitMQ, channel: BlockingChannel, queue: str, data: Json, body: str, content_type: str | None
) -> None:
    assert isinstance(run(rabbitmq, {"queue": queue, "data": data}), Done)
    _, properties, content = channel.basic_get(queue, auto_ack=True)
    assert content == body.encode()
    assert properties.content_type == content_type


def test_a_message_is_persistent_and_says_which_task_sent_it(
    rabbitmq: RabbitMQ, channel: BlockingChannel, queue: str
) -> None:
    before = int(time.time())
    uid = str(uuid4())
    run(rabbitmq, {"queue": queue, "data": 1}, uid=uid)
    _, properties, _ = channel.basic_get(queue, auto_ack=True)
    assert properties.delivery_mode == 2
    assert properties.message_id == uid
    assert properties.app_id == "at-worker"
    assert before <= properties.timestamp <= time.time()
    assert properties.headers == {
        "x-at-worker-task-id": 7,
        "x-at-worker-attempt": 2,
        "x-at-worker-scheduled-at": "2030-01-02T03:04:05.678+00:00",
    }


def test_the_properties_of_the_payload_arrive(
    rabbitmq: RabbitMQ, channel: BlockingChannel, queue: str
) -> None:
    headers: dict[str, Any] = {
        "text": "Grüße",
        "whole": -(2**63),
        "small": 3,
        "yes": True,
        "none": None,
        "decimal": Decimal("-12.50"),
        "list": [1, "two", [None]],
        "object": {"a": {"b": Decimal("1E+3")}},
    }
    chosen: dict[str, Json] = {
        "priority": 9,
        "correlation_id": "c-1",
        "reply_to": "answers",
        "type": "order.made",
    }
    payload: dict[str, Json] = {"queue": queue, "content_type": "text/csv", "expiration": 60000, **chosen}
    assert isinstance(run(rabbitmq, {**payload, "headers": headers}), Done)
    _, properties, _ = channel.basic_get(queue, auto_ack=True)
    assert {name: getattr(properties, name) for name in chosen} == chosen
    assert properties.content_type == "text/csv"
    assert properties.expiration == "60000"
    assert {name: properties.headers[name] for name in headers} == headers


def test_an_unroutable_message_may_pass(rabbitmq: RabbitMQ) -> None:
    why = reason(run(rabbitmq, {"queue": "at-worker-test-nowhere", "data": 1}))
    assert "returned the message: 312 NO_ROUTE" in why


def test_an_unknown_exchange_may_pass_and_is_named(rabbitmq: RabbitMQ) -> None:
    why = reason(run(rabbitmq, {"exchange": "at-worker-test-none", "routing_key": "k", "data": 1}))
    assert "404 NOT_FOUND" in why
    assert "at-worker-test-none" in why


def test_a_message_that_the_queue_rejects_may_pass(rabbitmq: RabbitMQ, channel: BlockingChannel) -> None:
    full = declare(channel, **{"x-max-length": 1, "x-overflow": "reject-publish"})
    outcomes = [run(rabbitmq, {"queue": full, "data": n}) for n in range(3)]
    assert isinstance(outcomes[0], Done)
    assert "nack" in reason(outcomes[-1])


def test_an_exchange_that_takes_no_messages_may_pass(rabbitmq: RabbitMQ, channel: BlockingChannel) -> None:
    internal = f"at-worker-test-{uuid4()}"
    channel.exchange_declare(internal, "fanout", internal=True)
    try:
        assert "403 ACCESS_REFUSED" in reason(
            run(rabbitmq, {"exchange": internal, "routing_key": "", "data": 1})
        )
    finally:
        channel.exchange_delete(internal)


def test_a_message_that_is_too_large_fails_for_good(
    rabbitmq: RabbitMQ, broker: Broker | External, queue: str
) -> None:
    outcome = run(rabbitmq, {"queue": queue, "data": "x" * (broker.max_message_bytes + 1)})
    assert isinstance(outcome, Fail)
    assert "406 PRECONDITION_FAILED" in outcome.reason


def test_headers_that_fill_a_frame_still_arrive(
    rabbitmq: RabbitMQ, channel: BlockingChannel, queue: str
) -> None:
    headers: Json = {"long": "x" * 127_000}
    assert isinstance(run(rabbitmq, {"queue": queue, "headers": headers, "correlation_id": "y" * 255}), Done)
    assert channel.basic_get(queue, auto_ack=True)[1].headers["long"] == "x" * 127_000


def test_headers_longer_than_the_connections_frames_fail_for_good(
    broker: Broker | External, queue: str
) -> None:
    executor = worker(f"{broker.url}?frame_max=4096")
    try:
        outcome = run(executor, {"queue": queue, "headers": {"long": "x" * 3000}})
        assert isinstance(outcome, Fail)
        assert "headers" in outcome.reason
        assert isinstance(run(executor, {"queue": queue, "headers": {"long": "x" * 1000}}), Done)
    finally:
        executor.close()


def test_a_queue_that_is_deleted_and_made_again_gets_the_next_attempt(
    rabbitmq: RabbitMQ, channel: BlockingChannel, queue: str, drain: Drain
) -> None:
    assert isinstance(run(rabbitmq, {"queue": queue, "data": "1"}), Done)
    channel.queue_delete(queue)
    assert isinstance(run(rabbitmq, {"queue": queue, "data": "2"}), Retry)
    channel.queue_declare(queue, exclusive=True)
    assert isinstance(run(rabbitmq, {"queue": queue, "data": "3"}), Done)
    assert drain(queue) == ["3"]


def test_more_messages_at_once_than_the_connection_has_channels_all_arrive(
    broker: Broker | External, queue: str, drain: Drain
) -> None:
    executor = worker(f"{broker.url}?channel_max=4")
    try:
        with ThreadPoolExecutor(16) as pool:
            outcomes = list(pool.map(lambda n: run(executor, {"queue": queue, "data": n}), range(100)))
    finally:
        executor.close()
    assert all(isinstance(outcome, Done) for outcome in outcomes)
    assert len(drain(queue)) == 100
