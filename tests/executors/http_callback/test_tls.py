"""TLS and proxies of `http_callback`."""

import base64
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from at_worker.executors.http_callback.deadlines import deadline
from at_worker.executors.http_callback.dialer import Dialer
from at_worker.executors.http_callback.guard import UNGUARDED
from at_worker.jsontext import Json
from at_worker.outcome import Done, Outcome, Retry
from tests.executors.http_callback.callbacks import Authority, once
from tests.servers.http import Receiver, Reply, refusing, serving, tunnelling


@pytest.fixture
def secure(authority: Authority) -> Iterator[Receiver]:
    with Receiver(authority.server("127.0.0.1", "localhost")) as running:
        yield running


@pytest.fixture
def plain() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def reason(outcome: Outcome) -> str:
    assert isinstance(outcome, Retry)
    assert outcome.result is None
    return outcome.reason


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_ca_file_is_trusted(secure: Receiver, authority: Authority, host: str) -> None:
    outcome = once({"url": f"https://{host}:{secure.port}/", "data": "ü"}, HTTP_CA_FILE=authority.ca_file)
    assert isinstance(outcome, Done)
    assert secure.arrivals[0].body == "ü".encode()


def test_the_ca_file_replaces_the_built_in_authorities(secure: Receiver, authority: Authority) -> None:
    dialer = Dialer(ca_file=authority.ca_file, proxy_url=None, guard=UNGUARDED)
    with deadline(time.monotonic() + 10):
        dialer.open(secure.url).close()
    assert dialer.context.cert_store_stats()["x509_ca"] == 1


def test_a_certificate_of_a_stranger_is_refused(secure: Receiver) -> None:
    why = reason(once({"url": f"{secure.url}/?token=s3cr3t"}))
    assert why.startswith(f"127.0.0.1:{secure.port}: certificate verify failed: unable to get local issuer")
    assert "s3cr3t" not in why
    assert secure.arrivals == []


def test_a_certificate_for_another_host_is_refused(authority: Authority) -> None:
    with Receiver(authority.server("example.org")) as receiver:
        why = reason(once({"url": receiver.url}, HTTP_CA_FILE=authority.ca_file))
        assert "certificate verify failed: IP address mismatch" in why
        assert receiver.arrivals == []


def test_a_certificate_that_has_expired_is_refused(authority: Authority) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    with Receiver(authority.server("127.0.0.1", not_after=yesterday)) as receiver:
        why = reason(once({"url": receiver.url}, HTTP_CA_FILE=authority.ca_file))
        assert why.endswith("certificate verify failed: certificate has expired")
        assert receiver.arrivals == []


@pytest.mark.parametrize(
    "wish",
    [
        {"verify": False}, {"insecure": True}, {"tls": {"verify": False}}, {"ssl_verify": False},
        {"cert_reqs": "CERT_NONE"}, {"ca_file": "{ca}"}, {"HTTP_CA_FILE": "{ca}"},
        {"headers": {"verify": "no"}}, {"auth": {"bearer": "t", "verify": False}},
    ],
    ids=str,
)  # fmt: skip
def test_no_payload_switches_verification_off(
    secure: Receiver, authority: Authority, wish: dict[str, Json]
) -> None:
    wish = {key: authority.ca_file if value == "{ca}" else value for key, value in wish.items()}
    assert "certificate verify failed" in reason(once({"url": secure.url, **wish}))
    assert secure.arrivals == []


def test_the_environment_adds_no_authority(
    secure: Receiver, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, authority.ca_file)
    assert "certificate verify failed" in reason(once({"url": secure.url}))
    assert secure.arrivals == []


def test_a_server_without_tls_says_so(plain: Receiver) -> None:
    why = reason(once({"url": f"https://127.0.0.1:{plain.port}/"}))
    assert why.startswith(f"127.0.0.1:{plain.port}: TLS failed: ")


def test_a_connection_lost_in_the_handshake_may_pass() -> None:
    with serving(lambda connection, _: connection.close()) as port:
        assert f"127.0.0.1:{port}" in reason(once({"url": f"https://127.0.0.1:{port}/"}))


def test_plain_http_goes_through_the_proxy_by_absolute_uri(plain: Receiver) -> None:
    proxy = f"http://me:s3cr3t@127.0.0.1:{plain.port}"
    outcome = once({"url": "http://example.org/a/../b%7e?q=1", "data": {}}, HTTP_PROXY_URL=proxy)
    assert isinstance(outcome, Done)
    (arrival,) = plain.arrivals
    assert arrival.head.split()[1] == b"http://example.org/a/../b%7e?q=1"
    assert arrival.value("Host") == "example.org"
    assert arrival.body == b"{}"
    assert base64.b64decode(arrival.value("Proxy-Authorization").split()[1]) == b"me:s3cr3t"


def test_https_goes_through_the_proxy_by_connect(secure: Receiver, authority: Authority) -> None:
    heads: list[bytes] = []
    with tunnelling(heads) as port:
        proxy = f"http://me:s3cr3t@127.0.0.1:{port}"
        outcome = once({"url": f"{secure.url}/x?q=1"}, HTTP_PROXY_URL=proxy, HTTP_CA_FILE=authority.ca_file)
    assert isinstance(outcome, Done)
    assert heads[0].startswith(f"CONNECT 127.0.0.1:{secure.port} ".encode())
    assert b"Proxy-Authorization: Basic " in heads[0]
    (arrival,) = secure.arrivals
    assert arrival.target == "/x?q=1"
    assert arrival.values("Proxy-Authorization") == []


def test_https_goes_through_a_proxy_with_tls(secure: Receiver, authority: Authority) -> None:
    heads: list[bytes] = []
    with tunnelling(heads, tls=authority.server("127.0.0.1")) as port:
        proxy = f"https://127.0.0.1:{port}"
        outcome = once({"url": secure.url}, HTTP_PROXY_URL=proxy, HTTP_CA_FILE=authority.ca_file)
    assert isinstance(outcome, Done)
    assert len(heads) == len(secure.arrivals) == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_away_is_named_without_its_password(scheme: str) -> None:
    with refusing() as port:
        proxy = f"http://me:s3cr3t@127.0.0.1:{port}"
        why = reason(once({"url": f"{scheme}://example.org/"}, HTTP_PROXY_URL=proxy))
    assert why == f"cannot connect to the proxy 127.0.0.1:{port}: Connection refused"


def test_a_proxy_that_refuses_to_connect_may_pass() -> None:
    with tunnelling([], answer=b"HTTP/1.1 403 Not Yours\r\n\r\n") as port:
        why = reason(once({"url": "https://example.org/"}, HTTP_PROXY_URL=f"http://127.0.0.1:{port}"))
    assert why == "the proxy for example.org:443: Tunnel connection failed: 403 Not Yours"


def test_a_proxy_that_wants_a_password_may_pass(plain: Receiver) -> None:
    plain.script(Reply(407))
    why = reason(once({"url": "http://example.org/"}, HTTP_PROXY_URL=plain.url))
    assert why == "the proxy wants a user and password: HTTP 407"


def test_a_proxy_with_a_strangers_certificate_is_refused(authority: Authority) -> None:
    with tunnelling([], tls=authority.server("127.0.0.1")) as port:
        why = reason(once({"url": "https://example.org/"}, HTTP_PROXY_URL=f"https://127.0.0.1:{port}"))
    assert why.startswith("the proxy for example.org:443: certificate verify failed: ")
