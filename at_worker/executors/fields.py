"""Reading the fields of a payload; whatever does not fit raises InvalidPayload and names the field.

A field that is null counts as absent.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

from at_worker.jsontext import Json
from at_worker.plugin import InvalidPayload

_CONTROL_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def members(payload: Json, name: str = "payload") -> Mapping[str, Json]:
    """The value as a JSON object."""
    if not isinstance(payload, Mapping):
        raise InvalidPayload(name, f"must be an object, not {kind(payload)}")
    return payload


def text(payload: Mapping[str, Json], name: str) -> str | None:
    """A string of any content."""
    value = payload.get(name)
    if value is None or isinstance(value, str):
        return value
    raise InvalidPayload(name, f"must be a string, not {kind(value)}")


def line(payload: Mapping[str, Json], name: str) -> str | None:
    """A string without control characters, fit for a header or an address."""
    if name not in payload:
        return None
    value = text(payload, name)
    if value is not None:
        refuse_control_characters(name, value)
    return value


def required_line(payload: Mapping[str, Json], name: str) -> str:
    """The same, and it must be there and not be empty."""
    value = line(payload, name)
    if not value or not value.strip():
        raise InvalidPayload(name, "is missing" if value is None else "is empty")
    return value


def lines(payload: Mapping[str, Json], name: str) -> Mapping[str, str]:
    """An object whose names and values are such strings; numbers and booleans are written as JSON does."""
    value = payload.get(name)
    if value is None:
        return {}
    found = {}
    for key, item in members(value, name).items():
        refuse_control_characters(name, key)
        where = f"{name}.{key}"
        if isinstance(item, bool):
            found[key] = "true" if item else "false"
        elif isinstance(item, int | Decimal):
            found[key] = format(item, "f" if isinstance(item, Decimal) else "d")
        elif isinstance(item, str):
            refuse_control_characters(where, item)
            found[key] = item
        else:
            raise InvalidPayload(where, f"must be a string, not {kind(item)}")
    return found


def number(payload: Mapping[str, Json], name: str, *, above: float, most: float) -> float | None:
    """A number above `above`, at most `most`."""
    value = payload.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise InvalidPayload(name, f"must be a number, not {kind(value)}")
    if not above < value <= most:
        raise InvalidPayload(name, f"must be above {above:g} and at most {most:g}")
    return float(value)


def integer(payload: Mapping[str, Json], name: str, *, least: int, most: int) -> int | None:
    """A whole number from `least` to `most`."""
    value = payload.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidPayload(name, f"must be a whole number, not {kind(value)}")
    if not least <= value <= most:
        raise InvalidPayload(name, f"must be from {least} to {most}")
    return value


def refuse_control_characters(name: str, value: str) -> None:
    """Control characters end header lines: RFC 9110 section 5.5, RFC 5322 section 2.2."""
    if found := _CONTROL_CHARACTER.search(value):
        raise InvalidPayload(name, f"holds the control character U+{ord(found[0]):04X}")


def utf8(name: str, value: str) -> bytes:
    """The string in UTF-8, which has no place for lone surrogates."""
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise InvalidPayload(name, "holds a lone surrogate, which UTF-8 cannot carry") from None


def kind(value: Json) -> str:
    """What JSON calls the type of a value."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float() | Decimal():
            return "a number"
        case str():
            return "a string"
        case Mapping():
            return "an object"
        case Sequence():
            return "an array"
