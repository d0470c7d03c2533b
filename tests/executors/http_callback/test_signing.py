"""Signatures, verified with the reference package of Standard Webhooks."""

import base64
import hashlib
from collections.abc import Iterator

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from at_worker import jsontext
from at_worker.executors.http_callback.signing import signature
from at_worker.jsontext import Json
from tests.executors.http_callback.callbacks import once
from tests.servers.http import Arrival, Receiver


def secret(name: str) -> str:
    return f"whsec_{base64.b64encode(hashlib.sha256(name.encode()).digest()).decode()}"


def verify(arrival: Arrival, name: str) -> None:
    Webhook(secret(name)).verify(arrival.body, dict(arrival.headers), json_parse=False)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def test_the_signature_is_that_of_the_specification() -> None:
    # The example of the specification's own test suites.
    keys = [base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    assert (
        signature(keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "DELETE", "HEAD"])
@pytest.mark.parametrize("data", ["null", '""', '{"a": 1.10, "b": "grün ☃"}', r'"a\r\nb\u0000 ü"'])
def test_every_callback_is_signed_over_its_body_as_it_arrives(
    receiver: Receiver, method: str, data: str
) -> None:
    once(
        {"url": receiver.url, "method": method, "data": jsontext.parse(data)},
        WEBHOOK_SECRET=secret("a"),
    )
    (arrival,) = receiver.arrivals
    verify(arrival, "a")


def test_a_changed_body_or_another_secret_is_noticed(receiver: Receiver) -> None:
    once({"url": receiver.url, "data": {"total": 10}}, WEBHOOK_SECRET=secret("a"))
    (arrival,) = receiver.arrivals
    with pytest.raises(WebhookVerificationError):
        Webhook(secret("a")).verify(b'{"total":99}', dict(arrival.headers))
    with pytest.raises(WebhookVerificationError):
        verify(arrival, "b")


def test_receivers_of_the_old_and_of_the_new_secret_can_verify(receiver: Receiver) -> None:
    once({"url": receiver.url, "data": "x"}, WEBHOOK_SECRET=f"{secret('new')}  {secret('old')}")
    (arrival,) = receiver.arrivals
    assert arrival.value("webhook-signature").count("v1,") == 2
    verify(arrival, "new")
    verify(arrival, "old")


def test_without_a_secret_nothing_is_signed(receiver: Receiver) -> None:
    once({"url": receiver.url})
    assert receiver.arrivals[0].values("webhook-signature") == []


@pytest.mark.parametrize(
    ("shortest", "longest"), [(base64.b64encode(bytes(24)), base64.b64encode(bytes(range(64))))]
)
def test_the_shortest_and_the_longest_secret_sign(
    receiver: Receiver, shortest: bytes, longest: bytes
) -> None:
    payload: dict[str, Json] = {"url": receiver.url, "data": "x"}
    once(payload, WEBHOOK_SECRET=f"whsec_{shortest.decode()} whsec_{longest.decode()}")
    (arrival,) = receiver.arrivals
    for key in (shortest, longest):
        Webhook(key.decode()).verify(arrival.body, dict(arrival.headers), json_parse=False)
