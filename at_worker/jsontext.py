"""JSON between the table and the receivers: every digit of a number survives the way."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TypeAlias

import simplejson

Json: TypeAlias = "bool | int | float | Decimal | str | Sequence[Json] | Mapping[str, Json] | None"


class _Number(Decimal):
    """A number that is written as PostgreSQL writes it: with all its digits and without an exponent."""

    def __str__(self) -> str:
        return format(self, "f")


# Made once: making one takes longer than a payload does.
_DECODER = simplejson.JSONDecoder(parse_float=_Number)
_ENCODER = simplejson.JSONEncoder(
    use_decimal=True, ensure_ascii=False, separators=(",", ":"), default=str, ignore_nan=True
)
# In ASCII it passes through a connection of any encoding.
_STRICT_ENCODER = simplejson.JSONEncoder(
    use_decimal=True,
    separators=(",", ":"),
    allow_nan=False,
    encoding=None,  # type: ignore[arg-type]  # no text out of bytes; types-simplejson lacks it
)
_READABLE = simplejson.JSONEncoder(
    use_decimal=True, ensure_ascii=False, indent=2, default=str, ignore_nan=True
)


def parse(text: str) -> Json:
    """Parse a JSON text; numbers with a fraction come as `Decimal`. Raises ValueError with a plain reason."""
    try:
        value: Json = _DECODER.decode(text)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except simplejson.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error}") from None
    except ValueError:
        # int() refuses more than 4,300 digits: converting them takes quadratic time.
        raise ValueError("holds a number of more than 4,300 digits") from None
    return value


def render(value: object) -> str:
    """Render as compact JSON in UTF-8 characters; what JSON does not know becomes its `str()`."""
    text: str = _ENCODER.encode(value)
    return text


def render_strictly(value: Json) -> str:
    """Render as compact JSON in ASCII. Raises TypeError or ValueError for what JSON does not know."""
    text: str = _STRICT_ENCODER.encode(value)
    return text


def render_readable(value: object) -> str:
    """The same over several lines, for people."""
    text: str = _READABLE.encode(value)
    return text
