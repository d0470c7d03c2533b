"""What the templates of one mail may cost: a thread at work on them cannot be stopped from outside."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

T = TypeVar("T")

MOST = 5_000_000
STEP = 25
WIDEST = 1_000
# Python writes no longer whole number, and one calculation with millions of digits holds up all threads.
LONGEST_NUMBER = 4_300

# What one call of these makes is no longer than two of its values multiplied ...
_MULTIPLYING = frozenset({"indent", "join", "replace", "translate", "wordwrap", "xmlattr"})
# ... or as long as a number among its arguments says, or a format.
_WIDENING = frozenset(
    {"batch", "center", "expandtabs", "indent", "ljust", "rjust", "round", "slice", "zfill"}
)
_FORMATTING = frozenset({"format", "format_map"})
_WIDE_FORMAT = re.compile(r"%(\([^)]*\))?[^a-zA-Z%]*?(\*|\d{4})|\{[^{}]*:[^{}]*(\d{4}|\{)")


class TooMuch(Exception):
    """A template that costs more than a mail may."""


@dataclass(slots=True)
class Allowance:
    """Characters and list elements that may yet be made; a step (turn of a loop, call, filter) costs STEP."""

    left: int = MOST

    def spend(self, units: int) -> None:
        """Take it from what is left. Raises TooMuch."""
        self.left -= units
        if self.left < 0:
            raise TooMuch(
                f"makes more than {MOST:,} characters, each turn of a loop and each call taken for {STEP}"
            )

    def step(self, values: Iterable[object] = ()) -> None:
        """Count a step that walks through these, or has made them. Raises TooMuch."""
        self.spend(STEP + sum(map(_size, values)))

    def turns(self, items: Iterable[T]) -> Iterator[T]:
        """The same items, each a step. Raises TooMuch."""
        for item in items:
            self.step()
            yield item

    def foresee(self, name: str, values: Sequence[object]) -> None:
        """Refuse a filter or method that would make too much in one go; the first value is what it is for."""
        if name in _MULTIPLYING:
            longest = sorted(map(_size, values))[-2:]
            self.spend(longest[0] * longest[-1])
        if name in _WIDENING and any(isinstance(v, int) and abs(v) > WIDEST for v in values[1:]):
            raise TooMuch(f"{name} is asked for more than {WIDEST:,}")
        if name in _FORMATTING:
            refuse_wide_format(values[0])

    def foresee_operator(self, operator: str, left: object, right: object) -> None:
        """The same for an operator."""
        match operator, left, right:
            case "%", str(), _:
                refuse_wide_format(left)
            case "*", int(), int():
                _refuse_long_number(left.bit_length() + right.bit_length())
            case ("*", int(times), str() | list() | tuple() as value) | (
                "*",
                str() | list() | tuple() as value,
                int(times),
            ):
                self.spend(_size(value) * max(times, 0))
            case "**", int(), int(power):
                _refuse_long_number(left.bit_length() * power)
            case _:
                pass


def refuse_wide_format(text: object) -> None:
    """Formats can ask for a width of any size. Raises TooMuch."""
    if isinstance(text, str) and _WIDE_FORMAT.search(text.replace("%%", "")):
        raise TooMuch(f"a format asks for more than {WIDEST:,}, or for a width that stands elsewhere")


def _refuse_long_number(bits: int) -> None:
    if bits > LONGEST_NUMBER * 10 // 3:
        raise TooMuch(f"calculates a number of more than {LONGEST_NUMBER:,} digits")


def _size(value: object) -> int:
    match value:
        case str() | list() | tuple() | dict() | set() | frozenset() | range():
            return len(value)
        case Decimal():
            return 1 + abs(value.adjusted()) if value.is_finite() else 1
        case _:
            return 1
