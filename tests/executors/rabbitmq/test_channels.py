import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from pika.adapters.blocking_connection import BlockingChannel

from at_worker.executors.rabbitmq import RabbitMQ
from at_worker.executors.rabbitmq.channel import Channel
from at_worker.jsontext import Json
from at_worker.outcome import Done, Fail, Outcome, Retry
from tests.executors.rabbitmq.messages import Drain, declare, reason, run, storm, worker
from tests.servers.amqp_proxy import proxy
from tests.servers.rabbitmq import Broker, External


@pytest.fixture
def shop(channel: BlockingChannel, queue: str) -> Iterator[str]:
    """An exchange before the queue."""
    name = f"at-worker-test-{uuid4()}"
    channel.exchange_declare(name, "fanout")
    channel.queue_bind(queue, name)
    yield name
    channel.exchange_delete(name)


def shared(rabbitmq: RabbitMQ) -> Channel | None:
    channels = rabbitmq._publisher._connection._channels
    assert channels
    return channels._shared


def numbers(bodies: list[str]) -> list[int]:
    return sorted(map(int, bodies))


def wants_404(outcome: Outcome) -> bool:
    return isinstance(outcome, Retry) and "404 NOT_FOUND" in outcome.reason


def test_bad_messages_among_hundreds_cost_the_good_ones_nothing(
    rabbitmq: RabbitMQ, broker: Broker | External, channel: BlockingChannel, queue: str, drain: Drain
) -> None:
    other = declare(channel)
    large = "x" * (broker.max_message_bytes + 1)
    wrong: list[Json] = [
        {"exchange": "at-worker-test-none", "routing_key": "k", "data": 1},
        {"queue": "at-worker-test-nowhere", "data": 1},
    ]
    payloads: list[Json] = []
    for number in range(600):
        payloads.append({"queue": (queue, other)[number % 2], "data": str(number)})
        if number % 5 == 0:
            payloads.append(wrong[number % 2])
        if number % 60 == 0:
            payloads.append({"queue": queue, "data": large})
    outcomes = storm(rabbitmq, payloads)
    assert shared(rabbitmq)
    assert len([outcome for outcome in outcomes if isinstance(outcome, Done)]) == 600
    assert numbers(drain(queue) + drain(other)) == list(range(600))
    assert len([outcome for outcome in outcomes if isinstance(outcome, Fail)]) == 10
    assert len([outcome for outcome in outcomes if isinstance(outcome, Retry)]) == 120


def test_an_exchange_that_goes_in_the_middle_costs_the_messages_of_others_nothing(
    rabbitmq: RabbitMQ, channel: BlockingChannel, queue: str, shop: str, drain: Drain
) -> None:
    payloads: list[Json] = [
        {"exchange": shop, "routing_key": "", "data": str(number)}
        if number % 2
        else {"queue": queue, "data": str(number)}
        for number in range(2000)
    ]
    with ThreadPoolExecutor(32) as pool:
        sent = [pool.submit(run, rabbitmq, payload, 60) for payload in payloads]
        assert isinstance(sent[400].result(), Done)
        assert shared(rabbitmq)
        channel.exchange_delete(shop)
        outcomes = [future.result() for future in sent]
    done = {number for number, outcome in enumerate(outcomes) if isinstance(outcome, Done)}
    assert done >= set(range(0, 2000, 2))
    refused = [outcome for number, outcome in enumerate(outcomes) if number not in done]
    assert refused
    assert not [outcome for outcome in refused if not wants_404(outcome)]
    assert done <= set(map(int, drain(queue)))
    assert shared(rabbitmq)


def test_an_exchange_over_which_the_shared_channel_closed_has_no_share_in_the_next(
    rabbitmq: RabbitMQ, channel: BlockingChannel, queue: str, shop: str
) -> None:
    to_shop: Json = {"exchange": shop, "routing_key": "", "data": 1}
    storm(rabbitmq, [to_shop, {"queue": queue, "data": 1}] * 100)
    channel.exchange_delete(shop)
    assert wants_404(run(rabbitmq, to_shop))
    channel.exchange_declare(shop, "fanout")
    channel.queue_bind(queue, shop)
    storm(rabbitmq, [to_shop, {"queue": queue, "data": 1}] * 100)
    ours = shared(rabbitmq)
    channel.exchange_delete(shop)
    assert all(map(wants_404, storm(rabbitmq, [to_shop] * 10)))
    assert shared(rabbitmq) is ours is not None


def test_what_the_broker_returns_is_told_to_the_task_that_sent_it(
    rabbitmq: RabbitMQ, queue: str, drain: Drain
) -> None:
    outcomes = storm(
        rabbitmq,
        [
            {"queue": "at-worker-test-nowhere" if number % 3 == 0 else queue, "data": str(number)}
            for number in range(900)
        ],
    )
    assert shared(rabbitmq)
    assert all("312 NO_ROUTE" in reason(outcome) for outcome in outcomes[::3])
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Done)] == numbers(drain(queue))


def test_two_attempts_at_one_task_are_told_apart_when_one_is_returned(
    rabbitmq: RabbitMQ, channel: BlockingChannel, queue: str
) -> None:
    storm(rabbitmq, [{"queue": queue, "data": 1}] * 100)
    uid = str(uuid4())
    full = declare(channel, **{"x-max-length": 0, "x-overflow": "reject-publish"})
    queues = [queue, "at-worker-test-nowhere", full, queue, "at-worker-test-nowhere", full] * 50
    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(lambda name: run(rabbitmq, {"queue": name, "data": 1}, 60, uid), queues))
    assert all(isinstance(outcome, Done) for outcome in outcomes[::3])
    assert all("312 NO_ROUTE" in reason(outcome) for outcome in outcomes[1::3])
    assert all("nack" in reason(outcome) for outcome in outcomes[2::3])


def test_a_nack_is_told_to_the_task_that_sent_the_message(
    rabbitmq: RabbitMQ, channel: BlockingChannel, queue: str, drain: Drain
) -> None:
    full = declare(channel, **{"x-max-length": 0, "x-overflow": "reject-publish"})
    outcomes = storm(
        rabbitmq, [{"queue": (queue, full)[number % 2], "data": str(number)} for number in range(600)]
    )
    assert shared(rabbitmq)
    assert all(isinstance(outcome, Done) for outcome in outcomes[::2])
    assert all("nack" in reason(outcome) for outcome in outcomes[1::2])
    assert numbers(drain(queue)) == list(range(0, 600, 2))


def test_a_frozen_broker_holds_none_of_many_beyond_their_deadlines(
    broker: Broker | External, queue: str, drain: Drain
) -> None:
    with proxy(broker.url) as wire:
        executor = worker(wire.url)
        storm(executor, [{"queue": queue, "data": "0"}] * 100)
        first = shared(executor)
        assert first
        wire.freeze()
        started = time.monotonic()
        with ThreadPoolExecutor(16) as pool:
            outcomes = list(
                pool.map(lambda n: run(executor, {"queue": queue, "data": n}, seconds=0.7), range(16))
            )
        assert 0.6 < time.monotonic() - started < 1.5
        wire.thaw()
        assert all("in time; it" in reason(outcome) for outcome in outcomes)
        assert all(
            isinstance(outcome, Done) for outcome in storm(executor, [{"queue": queue, "data": "1"}] * 100)
        )
        assert shared(executor) not in (None, first)
        assert drain(queue).count("1") >= 100
        executor.close()


def test_a_connection_that_breaks_under_many_messages_answers_each(
    broker: Broker | External, queue: str
) -> None:
    with proxy(broker.url) as cable:
        executor = worker(cable.url)
        storm(executor, [{"queue": queue, "data": "0"}] * 100)
        cable.freeze()
        cut = threading.Timer(0.3, cable.cut)
        cut.start()
        with ThreadPoolExecutor(16) as pool:
            outcomes = list(pool.map(lambda n: run(executor, {"queue": queue, "data": n}), range(16)))
        cut.join()
        cable.thaw()
        assert any("lost" in reason(outcome) for outcome in outcomes if isinstance(outcome, Retry))
        assert all(isinstance(outcome, Done) for outcome in storm(executor, [{"queue": queue}] * 50))
        executor.close()
