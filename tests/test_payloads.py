"""The typed payloads say what the contract says."""

from collections.abc import Iterator
from dataclasses import fields

import pytest

from at_worker import Attachment, Email, HttpCallback, InvalidPayload, RabbitMQ, Secret, jsontext
from at_worker.config import load
from at_worker.executors.registry import executors
from at_worker.payloads import Payload
from at_worker.plugin import AnyExecutor
from tests.readme import quoted, rows

# What a worker has settings for.
SECRETS = {
    "AT_SECRET_SHOP": "s3cret-token",
    "AT_SECRET_SHOP_HOSTS": "example.org",
    "AT_SECRET_SIGNING": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "AT_SECRET_SIGNING_HOSTS": "example.org",
}
EVERYTHING: list[tuple[Payload, jsontext.Json]] = [
    (
        HttpCallback(
            "https://example.org/",
            data={"order": 42, "note": None},
            method="PUT",
            headers={"X-Shop": "north", "X-Key": Secret("SHOP")},
            timeout=10,
            auth={"bearer": Secret("SHOP")},
            sign=Secret("SIGNING"),
        ),
        {
            "url": "https://example.org/",
            "data": {"order": 42, "note": None},
            "method": "PUT",
            "headers": {"X-Shop": "north", "X-Key": {"$secret": "SHOP"}},
            "timeout": 10,
            "auth": {"bearer": {"$secret": "SHOP"}},
            "sign": {"$secret": "SIGNING"},
        },
    ),
    (
        HttpCallback("https://example.org/", auth={"basic": ("ann", Secret("SHOP"))}),
        {"url": "https://example.org/", "auth": {"basic": ["ann", {"$secret": "SHOP"}]}},
    ),
    (
        RabbitMQ(
            exchange="",
            routing_key="orders.paid",
            data=[1, "two"],
            headers={"items": 3},
            content_type="text/plain",
            priority=5,
            expiration=60000,
            correlation_id="42",
            reply_to="answers",
            type="order.paid",
        ),
        {
            "exchange": "",
            "routing_key": "orders.paid",
            "data": [1, "two"],
            "headers": {"items": 3},
            "content_type": "text/plain",
            "priority": 5,
            "expiration": 60000,
            "correlation_id": "42",
            "reply_to": "answers",
            "type": "order.paid",
        },
    ),
    (
        Email(
            to=["ann@example.org", "bob@example.org"],
            subject="Your order",
            body="",
            html="<p></p>",
            cc="shop@example.org",
            bcc="archive@example.org",
            from_="shop@example.org",
            reply_to="help@example.org",
            headers={"X-Shop": "north"},
            attachments=[Attachment("order.csv", b"id\n42\n", "text/csv"), Attachment("empty", b"")],
        ),
        {
            "to": ["ann@example.org", "bob@example.org"],
            "subject": "Your order",
            "body": "",
            "html": "<p></p>",
            "cc": "shop@example.org",
            "bcc": "archive@example.org",
            "from": "shop@example.org",
            "reply_to": "help@example.org",
            "headers": {"X-Shop": "north"},
            "attachments": [
                {"filename": "order.csv", "content_base64": "aWQKNDIK", "content_type": "text/csv"},
                {"filename": "empty", "content_base64": ""},
            ],
        },
    ),
]
LEAST: list[tuple[Payload, jsontext.Json]] = [
    (HttpCallback("https://example.org/"), {"url": "https://example.org/"}),
    (RabbitMQ(queue="orders"), {"queue": "orders"}),
    (
        Email(to="ann@example.org", subject="hello", body="text"),
        {"to": "ann@example.org", "subject": "hello", "body": "text"},
    ),
]


@pytest.fixture(scope="module")
def known() -> Iterator[dict[str, AnyExecutor]]:
    with executors(load(SECRETS, ())) as found:
        yield dict(found)


@pytest.mark.parametrize(("given", "payload"), EVERYTHING + LEAST)
def test_a_payload_has_the_keys_that_were_given_and_no_others(given: Payload, payload: jsontext.Json) -> None:
    assert jsontext.parse(jsontext.render_strictly(given.payload())) == payload


@pytest.mark.parametrize("given", [payload for payload, _ in EVERYTHING + LEAST])
def test_a_worker_takes_every_payload(given: Payload, known: dict[str, AnyExecutor]) -> None:
    known[given.task_type].parse(jsontext.parse(jsontext.render_strictly(given.payload())))


def test_a_mail_from_a_template_needs_neither_subject_nor_body() -> None:
    assert Email(to="ann@example.org", template="paid", template_data={"order": 42}).payload() == {
        "to": "ann@example.org",
        "template": "paid",
        "template_data": {"order": 42},
    }


@pytest.mark.parametrize("kind", [HttpCallback, RabbitMQ, Email])
def test_every_key_of_the_contract_is_a_field(kind: type[HttpCallback | RabbitMQ | Email]) -> None:
    described = rows(f"### {kind.task_type}")
    keys = {key for row in described if row[0].startswith("`") for key in quoted(row[0])}
    assert keys == {key.name.removesuffix("_") for key in fields(kind)}


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("queue", {}),
        ("queue", {"exchange": "shop"}),
        ("queue", {"routing_key": "orders"}),
        ("queue", {"queue": "orders", "exchange": ""}),
    ],
)
def test_a_message_that_goes_nowhere_is_refused_at_once(field: str, given: dict[str, str]) -> None:
    with pytest.raises(InvalidPayload) as refused:
        RabbitMQ(**given)  # type: ignore[arg-type]  # chosen by the test
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("subject", {"body": "text"}),
        ("body", {"subject": "hello"}),
        ("html", {"html": "<p></p>", "template": "paid"}),
    ],
)
def test_a_mail_of_no_text_or_of_two_is_refused_at_once(field: str, given: dict[str, str]) -> None:
    with pytest.raises(InvalidPayload) as refused:
        Email(to="ann@example.org", **given)  # type: ignore[arg-type]  # chosen by the test
    assert refused.value.field == field


def test_the_repr_of_a_callback_holds_no_credentials() -> None:
    callback = HttpCallback("https://example.org", headers={"X-Key": "s3cret"}, auth={"bearer": "s3cret"})
    assert "s3cret" not in repr(callback)
