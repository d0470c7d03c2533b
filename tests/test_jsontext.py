import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from at_worker.jsontext import parse, render, render_strictly

NUMBERS = st.decimals(allow_nan=False, allow_infinity=False).map(str)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(
    "text", ["1.10", "12345678901234567890", "-0.0", "0.1000000000000000055511151231257827", "9" * 4300]
)
def test_a_number_is_rendered_as_it_was_written(text: str) -> None:
    assert render(parse(text)) == text


@given(NUMBERS)
def test_every_digit_of_a_number_survives(text: str) -> None:
    expected = Decimal(text)
    came = Decimal(render(parse(text)))
    assert came == expected
    if "." in text or "E" in text:
        assert came.as_tuple() == expected.as_tuple()


@given(VALUES)
def test_a_value_survives_parsing_and_rendering(value: object) -> None:
    assert parse(render(value)) == value
    assert json.loads(render(value)) == value


def test_a_fraction_comes_as_decimal_and_a_whole_number_as_int() -> None:
    assert parse("[1.5, 1e3, 7]") == [Decimal("1.5"), Decimal("1e3"), 7]
    assert isinstance(parse("7"), int)


def test_rendering_is_compact_and_in_plain_characters() -> None:
    assert render({"a": [1, "grün ☃"], "b": None}) == '{"a":[1,"grün ☃"],"b":null}'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_becomes_null(value: float) -> None:
    assert render([value]) == "[null]"


def test_what_json_does_not_know_becomes_its_text() -> None:
    assert render({"at": ValueError("x")}) == '{"at":"x"}'


@pytest.mark.parametrize("text", ["", "{", "[1,]", "nul", "{'a': 1}", '"\n"', "1 2"])
def test_what_is_not_json_says_so(text: str) -> None:
    with pytest.raises(ValueError, match="is not JSON"):
        parse(text)


def test_a_number_of_too_many_digits_says_so() -> None:
    with pytest.raises(ValueError, match="more than 4,300 digits"):
        parse("9" * 4301)


@pytest.mark.parametrize("text", ["[" * 100_000 + "]" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000])
def test_a_text_nested_too_deeply_says_so(text: str) -> None:
    with pytest.raises(ValueError, match="is nested too deeply"):
        parse(text)


@given(VALUES)
def test_what_a_program_hands_over_arrives_in_ascii(value: object) -> None:
    rendered = render_strictly(value)  # type: ignore[arg-type]  # the strategy does not tell its type
    assert rendered.isascii()
    assert parse(rendered) == value


@pytest.mark.parametrize("value", [{1, 2}, object(), b"bytes", float("inf")], ids=str)
def test_what_is_not_json_is_not_guessed_at(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        render_strictly({"a": [value]})  # type: ignore[list-item]  # what this is about
