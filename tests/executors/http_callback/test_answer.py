import gzip
import time
import zlib
from email.message import Message
from email.utils import formatdate

import pytest

from at_worker.executors.http_callback.answer import body_text, classify, first_line, moved_to, retry_after
from at_worker.executors.http_callback.transport import Answer
from at_worker.outcome import Done, Fail, Retry

PERMANENT = {301, 308} | (set(range(400, 500)) - {401, 403, 404, 408, 409, 421, 423, 425, 429})


def answer(content: bytes = b"", *, whole: bool = True, **headers: str) -> Answer:
    head = Message()
    for name, value in headers.items():
        head[name.replace("_", "-")] = value
    return Answer(200, head, content, whole)


def test_every_status_ends_as_the_contract_says() -> None:
    for status in range(100, 1000):
        outcome = classify(status, "example.org")
        if 200 <= status < 300:
            assert isinstance(outcome, Done), status
        elif status in PERMANENT:
            assert isinstance(outcome, Fail), status
        else:
            assert isinstance(outcome, Retry), status


def test_a_failure_says_status_host_and_what_the_body_says() -> None:
    outcome = classify(503, "example.org", note="deploying", after=7.0, result={"status": 503})
    assert outcome == Retry("HTTP 503 from example.org: deploying", 7.0, {"status": 503})
    assert classify(422, "example.org") == Fail("HTTP 422 from example.org")


def test_a_permanent_redirect_names_the_new_address() -> None:
    assert classify(308, "a.org", moved_to="https://b.org/") == Fail(
        "HTTP 308 from a.org: moved permanently to https://b.org/"
    )
    assert classify(301, "a.org") == Fail(
        "HTTP 301 from a.org: moved permanently to an address that it does not name"
    )


def test_another_redirect_may_pass_and_is_named_too() -> None:
    assert classify(307, "a.org", moved_to="https://b.org/") == Retry(
        "HTTP 307 from a.org: redirects to https://b.org/, which is not followed"
    )
    assert classify(304, "a.org") == Retry("HTTP 304 from a.org")


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://b.org/new", "https://b.org/new"),
        ("/new", "http://a.org/new"),
        ("new", "http://a.org/x/new"),
        ("//b.org:8080/", "http://b.org:8080/"),
        ("https://b.org/new?token=s3cr3t#f", "https://b.org/new?…"),
        ("https://user:s3cr3t@b.org/", "https://b.org/"),
        ("http://[::1]:80/", "http://[::1]:80/"),
        ("https://b.org/\xc3\xa4", "https://b.org/ä"),
        ("https://b.org/\x1b[31m", "https://b.org/ [31m"),
        ("http://[", ""),
        ("http://b.org:x/", ""),
        ("", ""),
    ],
)
def test_a_new_address_is_shown_without_secrets(location: str, shown: str) -> None:
    assert moved_to(answer(Location=location), "http://a.org/x/y?token=s3cr3t") == shown


def test_a_missing_location_is_no_address() -> None:
    assert moved_to(answer(), "http://a.org/") == ""


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60.0),
        ("Sun Nov  6 08:50:37 1994", 60.0),
        ("Sun, 06 Nov 1994 08:49:00 GMT", 0.0),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("\uff15", None),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ("5, 10", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_that_counts_from_the_answers_own(
    value: str, seconds: float | None
) -> None:
    dated = answer(Retry_After=value, Date="Sun, 06 Nov 1994 08:49:37 GMT")
    assert retry_after(dated) == seconds


def test_retry_after_with_endless_digits_is_a_number_all_the_same() -> None:
    assert retry_after(answer(Retry_After="9" * 5000)) == float("inf")


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_a_retry_after_date_counts_from_now_where_the_answer_has_no_date(date: str) -> None:
    value = formatdate(time.time() + 100, usegmt=True)
    seconds = retry_after(answer(Retry_After=value, Date=date))
    assert seconds is not None
    assert 90 < seconds <= 100


@pytest.mark.parametrize(
    ("content", "content_type", "text"),
    [
        ("grün ☃".encode(), "text/plain", "grün ☃"),
        ("grün".encode("latin-1"), "text/plain; charset=ISO-8859-1", "grün"),
        ("grün".encode("utf-16"), 'text/plain; charset="UTF-16"', "grün"),
        ("grün".encode("latin-1"), "text/plain", "gr\ufffdn"),
        ("grün".encode(), "text/plain; charset=no-such-thing", "grün"),
        ("grün".encode(), "text/plain; charset=unicode_escape", "grün"),
        ("grün".encode(), "text/plain; charset=punycode", "grün"),
        (b"6162", "text/plain; charset=hex", "6162"),
        (b"ab", "text/plain; charset=\x00", "ab"),
        (b"ab", "", "ab"),
        (b"ab", ";;;=", "ab"),
    ],
)
def test_a_body_becomes_text_in_its_charset_else_utf_8(content: bytes, content_type: str, text: str) -> None:
    assert body_text(answer(content, Content_Type=content_type), 100) == text


def test_a_character_that_the_cut_splits_is_left_out() -> None:
    assert body_text(answer("aü".encode()), 2) == "a"
    assert body_text(answer("aü".encode()[:2], whole=False), 100) == "a"


def test_no_body_is_kept_where_none_is_wanted() -> None:
    assert body_text(answer(b"secret"), 0) == ""
    assert body_text(answer(gzip.compress(b"secret"), Content_Encoding="gzip"), 0) == ""


@pytest.mark.parametrize(
    ("coding", "content"),
    [
        ("gzip", gzip.compress(b"hello")),
        ("X-GZIP", gzip.compress(b"hello")),
        ("deflate", zlib.compress(b"hello")),
        ("deflate", zlib.compress(b"hello")[2:-4]),
        ("identity", b"hello"),
    ],
)
def test_a_content_coding_is_undone(coding: str, content: bytes) -> None:
    assert body_text(answer(content, Content_Encoding=coding), 100) == "hello"
    assert body_text(answer(content, Content_Encoding=coding), 4) == "hell"


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "gzip"])
def test_a_body_that_cannot_be_decoded_is_left_out(coding: str) -> None:
    assert body_text(answer(b"\x00\xff junk", Content_Encoding=coding), 100) == ""


def test_the_first_line_is_the_first_that_says_something() -> None:
    assert first_line("\r\n \t\n  out of\x1b  order \nmore") == "out of order"
    assert first_line("x" * 1000) == "x" * 199 + "…"
    assert first_line("") == ""
