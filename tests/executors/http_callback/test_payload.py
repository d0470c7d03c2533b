import base64
from decimal import Decimal

import pytest

from at_worker.executors.http_callback.payload import parse
from at_worker.jsontext import Json
from at_worker.plugin import InvalidPayload

URL = "http://example.org/hook"
SECRET = "s3cr3t-t0ken"

BROKEN_URLS: list[Json] = [
    None, 7, True, [], {}, "", " ", "\t", "example.org", "//example.org/", "/path", "ftp://example.org/",
    "file:///etc/passwd", "http:", "http:/", "http://", "http:///path", "http://?q", "http://#f", "http://:80/",
    "https://:/", "http:example.org", "http:/example.org", "javascript:alert(1)", "httpx://example.org",
    " http://example.org/", "http://example.org/ ", "http://exa mple.org/", "http://example.org/a b",
    "http://example.org/a\tb", "http://example.org/\r\nX: y", "http://example.org/\x00", "http://example.org/\x7f",
    "http://example.org/\x85", "http://example.org/\u2028", "http://example.org/\u00a0",
    "http://example.org:0/", "http://example.org:65536/", "http://example.org:-1/", "http://example.org:http/",
    "http://example.org:80:80/", "http://example.org:\uff18\uff10/", "http://example.org:999999999999/",
    "http://example.org:+80/", f"http://user:{SECRET}@example.org/", f"http://{SECRET}@example.org/",
    "http://@example.org/", "http://example.org\\@evil.example/", "http://example.org\\path", "http://[::1/",
    "http://::1/", "http://[::1]x/", "http://[]/", "http://[1.2.3.4]/", "http://[fe80::1%25eth0]/",
    "http://[::1::]/", "http://ex%61mple.org/", "http://example..org/", "http://.example.org/",
    f"http://{'a' * 64}.org/", f"http://{'a.b' * 90}/", "http://exa*mple.org/", "http://exa,mple.org/",
    "http://☃.net/", "http://-ü.de/", "http://\ud800.de/", "http://a\u2100b/", "http://ü..de/",
    "http://example.org/\ud800", f"http://example.org/{'a' * 8192}",
]  # fmt: skip
BROKEN_HEADER_NAMES = [
    "", "X Y", "X:", "(X)", "Ü", "X/Y", "User-Agent", "user-agent", "Idempotency-Key", "webhook-id",
    "Webhook-Timestamp", "WEBHOOK-SIGNATURE", "X-At-Worker-Task-Id", "x-at-worker-anything", "Host",
    "Content-Length", "Connection", "Keep-Alive", "Transfer-Encoding", "TE", "Trailer", "Upgrade",
    "Proxy-Authorization", "proxy-connection", "Expect",
]  # fmt: skip
BROKEN_HEADER_VALUES: list[Json] = [
    None, [], {}, "a\r\nb", "a\nb", "\x00", "€", "日本", "\ud800", "a\u2028b",
]  # fmt: skip
BROKEN_BASICS: list[Json] = [
    SECRET, 7, {}, [], ["u"], ["u", SECRET, "x"], ["u", 7], [None, SECRET], ["u:v", SECRET],
    ["u", f"{SECRET}\n"], ["\x00", SECRET], ["u", f"{SECRET}\ud800"],
]  # fmt: skip
BROKEN_BEARERS: list[Json] = [
    7, True, [], {}, "", f"{SECRET} x", f"{SECRET}\r\n", f"{SECRET}é",
]  # fmt: skip


def broken(name: str, *values: Json) -> list[tuple[str, Json]]:
    return [(name, {"url": URL, name: value}) for value in values]


def broken_member(outer: str, name: str, value: Json) -> tuple[str, Json]:
    return f"{outer}.{name}", {"url": URL, outer: {name: value}}


BROKEN: list[tuple[str, Json]] = [
    *(("payload", value) for value in (None, "text", 7, True, Decimal("1.5"), [], [{"url": URL}])),
    ("url", {}),
    *(("url", {"url": value}) for value in BROKEN_URLS),
    *broken(
        "method", 7, True, [], {}, "", "FETCH", "POST ", "GET\r\n", "CONNECT", "TRACE", "OPTIONS", "POS\u0422"
    ),
    *broken("timeout", "30", True, [], {}, 0, -1, Decimal("-0.1"), Decimal("1e99"), 10**30),
    *broken("headers", "X: y", 7, True, [], [["X", "y"]], {"X\r\nY": "x"}),
    *(broken_member("headers", name, "x") for name in BROKEN_HEADER_NAMES),
    *(broken_member("headers", "X-A", value) for value in BROKEN_HEADER_VALUES),
    ("headers.x-a", {"url": URL, "headers": {"X-A": "1", "x-a": "2"}}),
    *broken(
        "auth", SECRET, 7, True, [SECRET], {}, {"digest": SECRET}, {"basic": ["u", SECRET], "bearer": SECRET}
    ),
    ("auth", {"url": URL, "auth": {"bearer": SECRET}, "headers": {"authorization": SECRET}}),
    *(broken_member("auth", "basic", value) for value in BROKEN_BASICS),
    *(broken_member("auth", "bearer", value) for value in BROKEN_BEARERS),
    *broken("data", "\ud800", {"deep": ["\udfff"]}),
]


@pytest.mark.parametrize(("field", "payload"), BROKEN)
def test_a_broken_payload_names_its_field_and_no_secret(field: str, payload: Json) -> None:
    with pytest.raises(InvalidPayload) as caught:
        parse(payload)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"invalid payload: {field}: ")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("http://example.org", "http://example.org/"),
        ("HTTP://EXAMPLE.org:80/A", "http://example.org/A"),
        ("https://example.org:0443", "https://example.org/"),
        ("https://example.org:80/", "https://example.org:80/"),
        ("http://example.org:/x", "http://example.org/x"),
        ("http://example.org?q=1", "http://example.org/?q=1"),
        ("http://example.org/a?", "http://example.org/a?"),
        ("http://example.org/a#fragment?x", "http://example.org/a"),
        ("http://example.org/a/../b/./c//d", "http://example.org/a/../b/./c//d"),
        ("http://example.org/%7e%2f%c3%A4?x=%2F+%20", "http://example.org/%7e%2f%c3%A4?x=%2F+%20"),
        ("http://example.org/100%/%zz?%", "http://example.org/100%25/%25zz?%25"),
        ("http://example.org/ä?ö=☃", "http://example.org/%C3%A4?%C3%B6=%E2%98%83"),
        ('http://example.org/"<>^`{|}\\[]', "http://example.org/%22%3C%3E%5E%60%7B%7C%7D%5C%5B%5D"),
        ("http://example.org/;p=1@x:y!$&'()*+,=~", "http://example.org/;p=1@x:y!$&'()*+,=~"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://例え.jp:8080/", "http://xn--r8jz45g.jp:8080/"),
        ("http://my_service:8080/", "http://my_service:8080/"),
        ("http://example.org./", "http://example.org./"),
        ("http://127.0.0.1/", "http://127.0.0.1/"),
        ("http://[0::1]:8080/", "http://[::1]:8080/"),
    ],
)
def test_a_url_is_sent_as_it_was_written_as_far_as_that_is_legal(given: str, sent: str) -> None:
    assert parse({"url": given}).url == sent


def test_a_url_of_the_greatest_length_is_accepted() -> None:
    url = "http://example.org/"
    assert len(parse({"url": url + "a" * (8192 - len(url))}).url) == 8192


@pytest.mark.parametrize("method", ["POST", "get", "Put", "PATCH", "delete", "HEAD"])
def test_a_method_may_be_written_in_any_case(method: str) -> None:
    assert parse({"url": URL, "method": method}).method == method.upper()


def test_fields_that_are_null_count_as_absent_and_unknown_ones_are_ignored() -> None:
    absent: dict[str, Json] = dict.fromkeys(("method", "headers", "auth", "timeout", "data"))
    assert parse({"url": URL, **absent, "retries": 7}) == parse({"url": URL})


def test_a_timeout_is_seconds_with_a_fraction() -> None:
    assert parse({"url": URL, "timeout": Decimal("1.5")}).timeout == 1.5


@pytest.mark.parametrize(
    ("method", "data", "content"),
    [
        ("POST", None, b""), ("PUT", None, b""), ("PATCH", None, b""), ("POST", "", b""),
        ("GET", None, None), ("HEAD", None, None), ("DELETE", None, None),
        ("GET", {"a": 1}, b'{"a":1}'), ("DELETE", "x", b"x"), ("GET", "", b""),
    ],
)  # fmt: skip
def test_a_body_is_there_where_it_is_given_or_expected(
    method: str, data: Json, content: bytes | None
) -> None:
    callback = parse({"url": URL, "method": method, "data": data})
    assert callback.content == content
    assert callback.headers.get("Content-Length") == (None if content is None else str(len(content)))


def test_headers_of_the_payload_win_in_any_case() -> None:
    headers = parse({"url": URL, "data": {}, "headers": {"content-TYPE": "a/b", "accept": "c/d"}}).headers
    assert {k.lower(): v for k, v in headers.items() if k.lower() in ("content-type", "accept")} == {
        "content-type": "a/b",
        "accept": "c/d",
    }
    assert len(headers) == 3


def test_header_values_may_be_numbers_booleans_and_latin_1() -> None:
    given: dict[str, Json] = {"A": 1, "B": Decimal("1.10"), "C": True, "D": "é", "E": " x "}
    headers = parse({"url": URL, "headers": given}).headers
    assert [headers[name] for name in "ABCDE"] == ["1", "1.10", "true", "é", "x"]


def test_basic_auth_is_utf_8() -> None:
    header = parse({"url": URL, "auth": {"basic": ["jürgen", "pä:ss"]}}).headers["Authorization"]
    assert base64.b64decode(header.removeprefix("Basic ")).decode() == "jürgen:pä:ss"


def test_bearer_auth_is_sent_as_it_is() -> None:
    headers = parse({"url": URL, "auth": {"bearer": "abc.def-_~+/="}}).headers
    assert headers["Authorization"] == "Bearer abc.def-_~+/="


def test_a_parsed_payload_does_not_show_its_secrets() -> None:
    callback = parse({"url": f"{URL}?token={SECRET}", "auth": {"bearer": SECRET}, "data": SECRET})
    assert SECRET not in repr(callback)
