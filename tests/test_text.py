import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from at_worker import jsontext
from at_worker.text import LONGEST_ERROR, clean, clean_json, clip, one_line, visible

ANY_TEXT = st.text(st.characters(exclude_categories=()))


def test_what_postgresql_cannot_hold_is_replaced() -> None:
    assert clean("a\x00b\ud800c\udfffd grün ☃ 😀") == "a\ufffdb\ufffdc\ufffdd grün ☃ 😀"


@given(ANY_TEXT)
def test_a_clean_text_can_be_stored(text: str) -> None:
    assert "\x00" not in clean(text)
    clean(text).encode()


@given(ANY_TEXT)
def test_a_clean_json_text_holds_the_clean_value(text: str) -> None:
    cleaned = clean_json(jsontext.render({text: [text]}))
    assert json.loads(cleaned) == {clean(text): [clean(text)]}


@pytest.mark.parametrize(
    ("given", "cleaned"),
    [
        (r'"\u0000"', '"\ufffd"'),
        (r'"\\u0000"', r'"\\u0000"'),
        (r'"\\\u0000"', '"\\\\\ufffd"'),
        (r'"\u0000\u0000"', '"\ufffd\ufffd"'),
    ],
)
def test_an_escaped_nul_is_told_from_an_escaped_backslash(given: str, cleaned: str) -> None:
    assert clean_json(given) == cleaned


def test_a_text_that_fits_is_not_clipped() -> None:
    assert clip("abc", 3) == "abc"
    assert clip("x" * LONGEST_ERROR) == "x" * LONGEST_ERROR


def test_a_clipped_text_ends_with_an_ellipsis_and_keeps_to_the_limit() -> None:
    assert clip("abcd", 3) == "ab…"
    assert len(clip("x" * (LONGEST_ERROR + 1))) == LONGEST_ERROR


def test_an_exception_is_one_line() -> None:
    assert one_line(ValueError("first\n  second\r\n\tthird ")) == "ValueError: first second third"


def test_an_exception_without_a_message_is_its_kind() -> None:
    assert one_line(TimeoutError()) == "TimeoutError"
    assert one_line(ValueError(" \n")) == "ValueError"


def test_what_a_terminal_would_obey_is_escaped() -> None:
    assert visible("a\x1b[31m\r\n\t\x85\u202egrün ☃ 😀\ud800") == r"a\x1b[31m\r\n\t\x85\u202egrün ☃ 😀\ud800"


@given(ANY_TEXT)
def test_a_visible_text_is_one_line_of_valid_characters(text: str) -> None:
    assert len(visible(text).splitlines()) <= 1
    visible(text).encode()
