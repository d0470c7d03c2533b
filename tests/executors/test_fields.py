from collections.abc import Callable, Mapping
from decimal import Decimal

import pytest

from at_worker.executors import fields
from at_worker.jsontext import Json
from at_worker.plugin import InvalidPayload

Read = Callable[[Mapping[str, Json], str], object]


def number(payload: Mapping[str, Json], name: str) -> float | None:
    return fields.number(payload, name, above=0, most=10)


def integer(payload: Mapping[str, Json], name: str) -> int | None:
    return fields.integer(payload, name, least=0, most=9)


@pytest.mark.parametrize("read", [fields.text, fields.line, number, integer])
@pytest.mark.parametrize("payload", [{}, {"x": None}])
def test_a_field_that_is_absent_or_null_is_none(read: Read, payload: Mapping[str, Json]) -> None:
    assert read(payload, "x") is None


def test_lines_that_are_absent_or_null_are_empty() -> None:
    assert fields.lines({}, "x") == fields.lines({"x": None}, "x") == {}


@pytest.mark.parametrize(
    ("read", "value", "result"),
    [
        (fields.text, "a\r\nb", "a\r\nb"),
        (fields.text, "", ""),
        (fields.line, "grün ☃", "grün ☃"),
        (fields.required_line, " a ", " a "),
        (fields.members, {"a": 1}, {"a": 1}),
        (number, 10, 10.0),
        (number, Decimal("0.1"), 0.1),
        (integer, 0, 0),
        (integer, 9, 9),
        (fields.lines, {"a": "x", "b": 1, "c": Decimal("1.10"), "d": False},
         {"a": "x", "b": "1", "c": "1.10", "d": "false"}),
    ],
)  # fmt: skip
def test_a_field_that_fits_is_read(read: Callable[..., object], value: Json, result: object) -> None:
    payload = value if read is fields.members else {"x": value}
    assert read(payload, "x") == result


@pytest.mark.parametrize(
    ("read", "value", "why"),
    [
        (fields.text, 7, "must be a string, not a number"),
        (fields.text, True, "must be a string, not a boolean"),
        (fields.text, [], "must be a string, not an array"),
        (fields.text, {}, "must be a string, not an object"),
        (fields.line, "a\nb", "holds the control character U+000A"),
        (fields.line, "\x7f", "holds the control character U+007F"),
        (fields.line, "\x85", "holds the control character U+0085"),
        (fields.line, "\u2028", "holds the control character U+2028"),
        (fields.required_line, None, "is missing"),
        (fields.required_line, "", "is empty"),
        (fields.required_line, "  ", "is empty"),
        (number, "1", "must be a number, not a string"),
        (number, True, "must be a number, not a boolean"),
        (number, 0, "must be above 0 and at most 10"),
        (number, Decimal("10.1"), "must be above 0 and at most 10"),
        (integer, Decimal("1.0"), "must be a whole number, not a number"),
        (integer, False, "must be a whole number, not a boolean"),
        (integer, -1, "must be from 0 to 9"),
        (integer, 10, "must be from 0 to 9"),
        (fields.lines, "a", "must be an object, not a string"),
        (fields.lines, {"a\rb": "x"}, "holds the control character U+000D"),
    ],
)
def test_a_field_that_does_not_fit_is_named_with_the_reason(read: Read, value: Json, why: str) -> None:
    with pytest.raises(InvalidPayload) as caught:
        read({"x": value}, "x")
    assert (caught.value.field, caught.value.why) == ("x", why)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "must be a string, not null"),
        ([], "must be a string, not an array"),
        ("a\r\nb", "holds the control character U+000D"),
    ],
)
def test_a_member_of_lines_is_named_with_its_field(value: Json, why: str) -> None:
    with pytest.raises(InvalidPayload) as caught:
        fields.lines({"x": {"name": value}}, "x")
    assert (caught.value.field, caught.value.why) == ("x.name", why)


def test_what_is_no_object_is_named() -> None:
    with pytest.raises(InvalidPayload, match="invalid payload: payload: must be an object, not an array"):
        fields.members([])
