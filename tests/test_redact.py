import base64
import json
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from at_worker import redact
from at_worker.jsontext import Json

SECRET = "p/ä=ss+wö\"rd'\\!"
FORMS = [
    SECRET,
    quote(SECRET),
    quote(SECRET, safe=""),
    quote_plus(SECRET),
    re.sub("%..", lambda escape: escape[0].lower(), quote(SECRET)),
    json.dumps(SECRET),
    json.dumps(SECRET, ensure_ascii=False),
    repr(SECRET),
    SECRET.encode("latin-1").decode(errors="replace"),
    SECRET.encode().decode("latin-1"),
    *(base64.b64encode(f"{'u' * n}:{SECRET}".encode()).decode() for n in range(4)),
    *(base64.urlsafe_b64encode(f"{'u' * n}\0{SECRET}\0".encode()).decode() for n in range(4)),
]


@pytest.fixture(autouse=True)
def known() -> Iterator[None]:
    redact.learn([SECRET, "hunter22", "short"])
    yield
    redact.learn(())


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_hidden_in_every_form(form: str) -> None:
    told = redact.text(f"before {form} after")
    assert told.startswith("before ")
    assert told.endswith(" after")
    assert redact.HIDDEN in told
    # At most the bits that it shares with its neighbours are left of it.
    assert len(told) <= len("before  after") + len(redact.HIDDEN) + 10
    assert redact.text(form + form).count(redact.HIDDEN) == 2


@given(st.text(min_size=redact.SHORTEST), st.binary(max_size=5), st.binary(max_size=5))
def test_no_neighbour_hides_a_secret_in_base64(secret: str, before: bytes, after: bytes) -> None:
    encoded = base64.b64encode(before + secret.encode() + after).decode()
    assert redact.HIDDEN in redact.without(encoded, [secret])


def test_a_secret_that_is_too_short_to_be_told_from_other_words_stays() -> None:
    assert redact.text("short, in a shorthand") == "short, in a shorthand"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("hunter22", "***"),
        ("it ends in hunter", "it ends in ***"),
        ("it ends in hunter…", "it ends in ***…"),
        ("it ends in hunt", "it ends in hunt"),
        ("hunters hunt", "hunters hunt"),
        ("hunter2hunter2", "hunter2***"),
    ],
)
def test_what_a_cut_left_of_a_secret_is_hidden_too(given: str, told: str) -> None:
    assert redact.text(given) == told


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("http://u:p@x/a", "http://***@x/a"),
        ("(amqp://u@x:1/%2F)", "(amqp://***@x:1/%2F)"),
        ("postgresql://u:p@a:1,b:2/app?password=x", "postgresql://***@a:1,b:2/app?password=***"),
        ("https://x/a?k=v&l=w#top", "https://x/a?k=***&l=***"),
        ("https://x?v", "https://x?***"),
        ("https://x/?v&k=v", "https://x/?***&k=***"),
        ("https://x/a?k=v, and so on", "https://x/a?k=***, and so on"),
        ("Cannot POST /a?k=v&l=w (404)", "Cannot POST /a?k=***&l=*** (404)"),
        ("https://x/a?… is elsewhere", "https://x/a?… is elsewhere"),
        ("https://x/@user", "https://x/@user"),
        ("What? a=b", "What? a=b"),
        ("really?yes", "really?yes"),
        ("127.0.0.1:5432/app", "127.0.0.1:5432/app"),
        ("", ""),
    ],
)
def test_user_info_and_query_values_of_urls_are_hidden(given: str, told: str) -> None:
    assert redact.text(given) == told
    assert redact.text(told) == told


@pytest.mark.parametrize("piece", ["?", "://", "?a", "?a=", "a://b?c=d&", "@", "…"])
def test_a_text_that_is_made_to_be_slow_is_not(piece: str) -> None:
    redact.text(piece * 200_000)  # the limit of time of each test is the check


def test_the_strings_of_a_result_are_looked_through_and_all_else_stays() -> None:
    value: Json = {"body": "hunter22", "n": 22, "list": ["hunter22", None, True], "url": "https://x/?k=v"}
    told = {"body": "***", "n": 22, "list": ["***", None, True], "url": "https://x/?k=v"}
    assert redact.result(value) == told


def test_of_a_payload_is_shown_what_no_name_says_is_secret() -> None:
    shown = redact.payload(
        {
            "url": "https://example.org/?order=42",
            "auth": {"basic": ["ann", "pw"]},
            "headers": {"X-Shop": "north", "Authorization": "Bearer x", "X-Api-Key": {"$secret": "SHOP"}},
            "routing_key": "orders.paid",
            "data": [{"author": "ann", "token": 7, "total": 19.9, "password": None}, "a hunter22"],
        }
    )
    assert shown == {
        "url": "https://example.org/?order=***",
        "auth": {"basic": ["***", "***"]},
        "headers": {"X-Shop": "north", "Authorization": "***", "X-Api-Key": {"$secret": "SHOP"}},
        "routing_key": "orders.paid",
        "data": [{"author": "ann", "token": "***", "total": 19.9, "password": None}, "a ***"],
    }


@pytest.mark.parametrize("name", ["Authorization", "X-Api-Key", "access_token", "Cookie", "sig", "PASSWORD"])
def test_a_name_may_say_that_its_value_is_secret(name: str) -> None:
    assert redact.is_sensitive(name)
    assert not redact.is_sensitive("X-Shop")
