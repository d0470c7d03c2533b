"""Secrets by reference in the payloads of callbacks."""

import base64
from collections.abc import Iterator

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from at_worker.config import Secret
from at_worker.executors.http_callback import payload as http_payload
from at_worker.executors.http_callback.payload import Callback
from at_worker.executors.http_callback.vault import Vault
from at_worker.jsontext import Json
from at_worker.plugin import InvalidPayload, MissingSetting
from tests.executors.http_callback.callbacks import Authority, call, executor
from tests.servers.http import Receiver

SIGNING = f"whsec_{base64.b64encode(bytes(range(32))).decode()}"
OURS = f"whsec_{base64.b64encode(bytes(32)).decode()}"
SECRETS = {
    "TOKEN": Secret("hunter22", ("example.org", "*.example.com", "127.0.0.1", "localhost", "::1")),
    "SIGNING": Secret(f"{OURS} {SIGNING}", ("example.org",)),
    "WIDE": Secret("hünter2☃", ("example.org",)),
    "UNBOUND": Secret("hunter23"),
}
TOKEN: Json = {"$secret": "TOKEN"}
URL = "https://example.org/hook"


def parse(payload: dict[str, Json], *, proxied: bool = False) -> Callback:
    return http_payload.parse({"url": URL, **payload}, Vault(SECRETS, proxied))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def test_a_reference_stands_for_the_secret_in_headers_and_auth() -> None:
    assert parse({"headers": {"X-Key": TOKEN, "X-Other": "x"}}).headers["X-Key"] == "hunter22"
    assert parse({"auth": {"bearer": TOKEN}}).headers["Authorization"] == "Bearer hunter22"
    basic = parse({"auth": {"basic": ["ann", TOKEN]}}).headers["Authorization"]
    assert base64.b64decode(basic.removeprefix("Basic ")) == b"ann:hunter22"


@pytest.mark.parametrize(
    "url", ["https://a.b.example.com/", "https://EXAMPLE.org.:8443/", "https://[::1]/", "https://127.0.0.1/"]
)
def test_every_host_that_a_secret_is_bound_to_may_receive_it(url: str) -> None:
    assert parse({"url": url, "auth": {"bearer": TOKEN}}).headers["Authorization"] == "Bearer hunter22"


def test_in_data_a_reference_is_data() -> None:
    assert parse({"data": {"key": TOKEN}}).content == b'{"key":{"$secret":"TOKEN"}}'


@pytest.mark.parametrize(
    ("field", "payload"),
    [
        ("auth.bearer", {"auth": {"bearer": TOKEN}}),
        ("auth.basic", {"auth": {"basic": ["ann", TOKEN]}}),
        ("headers.X-Key", {"headers": {"X-Key": TOKEN}}),
        ("sign", {"sign": TOKEN}),
    ],
)
@pytest.mark.parametrize(
    "host", ["evil.example", "example.com", "example.org.evil.example", "evilexample.org", "127.1"]
)
def test_nobody_else_may_receive_it_nor_what_it_signs(
    field: str, payload: dict[str, Json], host: str
) -> None:
    with pytest.raises(MissingSetting) as refused:
        parse({"url": f"https://{host}/", **payload})
    assert str(refused.value) == f"missing setting: {field}: AT_SECRET_TOKEN_HOSTS does not name {host}"


def test_a_secret_without_hosts_is_of_no_use() -> None:
    with pytest.raises(MissingSetting, match=r"AT_SECRET_UNBOUND_HOSTS does not name example\.org"):
        parse({"auth": {"bearer": {"$secret": "UNBOUND"}}})


def test_a_secret_that_this_worker_lacks_is_named() -> None:
    with pytest.raises(MissingSetting, match=r"^missing setting: sign: this worker has no AT_SECRET_OTHER$"):
        parse({"sign": {"$secret": "OTHER"}})


@pytest.mark.parametrize("url", ["http://example.org/", "http://www.example.com:443/", "http://127.1/"])
def test_a_secret_never_travels_in_clear_text(url: str) -> None:
    with pytest.raises(InvalidPayload, match="invalid payload: url: must begin with https:// for a secret"):
        parse({"url": url, "headers": {"X-Key": TOKEN}})


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://localhost/", "http://[::1]/"])
def test_a_secret_may_travel_in_clear_text_within_the_machine(url: str) -> None:
    payload: dict[str, Json] = {"url": url, "headers": {"X-Key": TOKEN}}
    assert parse(payload).headers["X-Key"] == "hunter22"
    with pytest.raises(InvalidPayload):
        parse(payload, proxied=True)


@pytest.mark.parametrize(
    "reference",
    [
        {"$secret": None},
        {"$secret": 7},
        {"$secret": ""},
        {"$secret": "token"},
        {"$secret": "TOKEN_FILE"},
        {"$secret": "TOKEN_HOSTS"},
        {"$secret": "TOKEN\n"},
        {"$secret": "TOKEN", "other": 1},
        {"$secret": TOKEN},
    ],
)
@pytest.mark.parametrize("field", ["headers.X-Key", "auth.bearer", "sign"])
def test_a_reference_that_names_nothing_is_refused(field: str, reference: Json) -> None:
    outer, _, inner = field.partition(".")
    with pytest.raises(InvalidPayload) as refused:
        parse({outer: {inner: reference} if inner else reference})
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("field", "payload"),
    [
        ("auth.basic", {"auth": {"basic": [TOKEN, "password"]}}),
        ("auth.basic", {"auth": {"basic": TOKEN}}),
        ("auth", {"auth": TOKEN}),
        ("headers.$secret", {"headers": {"$secret": []}}),
        ("headers.X-Key", {"headers": {"X-Key": {"secret": "TOKEN"}}}),
        ("headers.X-Key", {"headers": {"X-Key": [TOKEN]}}),
        ("headers.webhook-signature", {"headers": {"webhook-signature": TOKEN}}),
        ("method", {"method": TOKEN}),
        ("url", {"url": TOKEN}),
        ("timeout", {"timeout": TOKEN}),
        ("sign", {"sign": "SIGNING"}),
        ("sign", {"sign": SIGNING}),
        ("sign", {"sign": False}),
        ("headers.X-Key", {"headers": {"X-Key": {"$secret": "WIDE"}}}),
        ("auth.bearer", {"auth": {"bearer": {"$secret": "WIDE"}}}),
    ],
)
def test_elsewhere_and_in_another_form_there_are_no_references(field: str, payload: dict[str, Json]) -> None:
    with pytest.raises(InvalidPayload) as refused:
        parse(payload)
    assert refused.value.field == field
    assert "hünter" not in str(refused.value)
    assert SIGNING not in str(refused.value)


def test_what_is_no_signing_secret_signs_nothing() -> None:
    with pytest.raises(MissingSetting) as refused:
        parse({"sign": TOKEN})
    assert str(refused.value).startswith("missing setting: sign: AT_SECRET_TOKEN is not whsec_ and")
    assert "hunter" not in str(refused.value)


def test_a_row_may_choose_its_own_signing_secret(receiver: Receiver) -> None:
    with executor(WEBHOOK_SECRET=OURS, AT_SECRET_SHOP=SIGNING, AT_SECRET_SHOP_HOSTS="127.0.0.1") as callback:
        call(callback, {"url": receiver.url, "data": "x", "sign": {"$secret": "SHOP"}})
        call(callback, {"url": receiver.url, "data": "x"})
    chosen, usual = receiver.arrivals
    Webhook(SIGNING).verify(chosen.body, dict(chosen.headers), json_parse=False)
    Webhook(OURS).verify(usual.body, dict(usual.headers), json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(OURS).verify(chosen.body, dict(chosen.headers), json_parse=False)


def test_every_signing_secret_that_a_row_names_signs() -> None:
    assert parse({"sign": {"$secret": "SIGNING"}}).signing_keys == (bytes(32), bytes(range(32)))


def test_a_secret_arrives_over_tls(authority: Authority) -> None:
    with (
        Receiver(authority.server("localhost")) as receiver,
        executor(
            HTTP_CA_FILE=authority.ca_file, AT_SECRET_SHOP="hunter22", AT_SECRET_SHOP_HOSTS="localhost"
        ) as callback,
    ):
        call(
            callback,
            {"url": f"https://localhost:{receiver.port}/", "headers": {"X-Key": {"$secret": "SHOP"}}},
        )
        assert receiver.arrivals[0].value("X-Key") == "hunter22"


def test_a_parsed_payload_does_not_show_it() -> None:
    vault = Vault(SECRETS)
    callback = parse({"auth": {"bearer": TOKEN}, "sign": {"$secret": "SIGNING"}})
    assert "hunter22" not in repr(vault) + repr(callback)
    assert repr(bytes(32)) not in repr(callback)
