"""JSON objects as AMQP tables, which hold less: small integers, decimals and names (AMQP 0-9-1, 4.2.5)."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TypeAlias

from at_worker.executors import fields
from at_worker.jsontext import Json
from at_worker.plugin import InvalidPayload

LONGEST_NAME = 255
DEEPEST = 64

Value: TypeAlias = "bool | int | Decimal | str | list[Value] | dict[str, Value] | None"


def table(value: Json, where: str, depth: int = 0) -> dict[str, Value]:
    """Turn a JSON object into a table. Raises InvalidPayload with the path of what does not fit."""
    found: dict[str, Value] = {}
    for name, item in fields.members(value, where).items():
        fields.refuse_control_characters(where, name)
        if len(fields.utf8(where, name)) > LONGEST_NAME:
            raise InvalidPayload(where, f"has a name of more than {LONGEST_NAME} bytes: {name[:40]}...")
        found[name] = _entry(item, f"{where}.{name}", depth + 1)
    return found


def size(value: Value) -> int:
    """How many bytes a value takes at most on the wire, its type included."""
    match value:
        case None | bool() | int() | Decimal():
            return 9
        case str():
            return 5 + len(value.encode())
        case list():
            return 5 + sum(map(size, value))
        case dict():
            return 5 + sum(1 + len(name.encode()) + size(item) for name, item in value.items())


def _entry(value: Json, where: str, depth: int) -> Value:
    if depth > DEEPEST:
        raise InvalidPayload(where, f"is nested more than {DEEPEST} levels deep")
    match value:
        case None | bool():
            return value
        case str():
            fields.refuse_control_characters(where, value)
            fields.utf8(where, value)
            return value
        case int():
            if not -(2**63) <= value < 2**63:
                raise InvalidPayload(where, "does not fit the 64-bit integers of AMQP; write it as a string")
            return value
        case float() | Decimal():
            return _decimal(Decimal(str(value)), where)
        case Mapping():
            return table(value, where, depth)
        case Sequence():
            return [_entry(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)]


def _decimal(value: Decimal, where: str) -> Decimal:
    """AMQP scales a signed 32-bit integer by 0 to 255 digits."""
    if value == 0:
        return Decimal(0)
    _, digits, exponent = value.as_tuple()
    if isinstance(exponent, int):
        # By hand: Decimal's own normalize() rounds to 28 digits, and overflows.
        shown = "".join(map(str, digits)).rstrip("0")
        exponent += len(digits) - len(shown)
        # The length first: 1E+1000000000 would be written out.
        short = exponent >= -255 and len(shown) + max(0, exponent) <= 10
        if short and int(shown) * 10 ** max(0, exponent) < 2**31:
            return value
    raise InvalidPayload(where, "does not fit the 32-bit decimals of AMQP; write it as a string")
