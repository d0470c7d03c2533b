"""The forms of a date: `tomorrow`, `friday`, `Jul 31`, `31 July 2027`, `31.7.2027`, `7/31/27`, `27-07-31`."""

import re
from datetime import date

from at_worker.timespec.reader import Reader, quote
from at_worker.timespec.specification import Day, MonthDay, Weekday
from at_worker.timespec.words import DAYS, MONTHS, WEEKDAYS

_YEAR = r"(?P<year>\d{4}|\d\d)(?!\d)"
_NUMERIC = [
    re.compile(pattern, re.ASCII)
    for pattern in (
        r"(?P<year>\d{4}|\d\d)-(?P<month>\d\d?)-(?P<day>\d\d?)(?!\d)",
        rf"(?P<day>\d\d?)\.(?P<month>\d\d?)\.{_YEAR}",
        rf"(?P<month>\d\d?)\s*/\s*(?P<day>\d\d?)\s*/\s*{_YEAR}",
        rf"(?P<month>\d\d?)(?P<day>\d\d){_YEAR}",
    )
]
_SHORT_MONTHS = "|".join(name for name in MONTHS if len(name) == 3)
_DAY_BEFORE_MONTH = re.compile(rf"\d\d?(?=\s*(?:{_SHORT_MONTHS}))", re.ASCII | re.IGNORECASE)
_DAY_OF_MONTH = re.compile(r"\d\d?(?!\d)", re.ASCII)
_YEAR_AFTER_DAY = re.compile(rf"(?:,\s*)?{_YEAR}", re.ASCII)
# `next month` is for whoever reads periods.
_NEXT_BEFORE_WEEKDAY = re.compile(
    r"next(?=\s*(?:mon(?!th)|tue|wed|thu|fri|sat|sun))", re.ASCII | re.IGNORECASE
)
_LEAP_YEAR = 2000


def read_day(reader: Reader) -> Day | None:
    """The date that stands here, if one does. Raises ValueError for one that no calendar has."""
    if (day := reader.word(DAYS)) is not None:
        return day
    reader.take(_NEXT_BEFORE_WEEKDAY)
    if (number := reader.word(WEEKDAYS)) is not None:
        return Weekday(number)
    return _numeric(reader) or _with_month_name(reader)


def _numeric(reader: Reader) -> date | None:
    for form in _NUMERIC:
        if match := reader.take(form):
            year, month, day = match.group("year", "month", "day")
            return _date(reader, match[0], _full_year(year), int(month), int(day))
    return None


def _with_month_name(reader: Reader) -> date | MonthDay | None:
    start = reader.position
    day = reader.take(_DAY_BEFORE_MONTH)
    month = reader.word(MONTHS)
    if month is None:
        return None
    day = day or reader.take(_DAY_OF_MONTH)
    if day is None:
        raise reader.not_understood()
    year = reader.take(_YEAR_AFTER_DAY)
    text = reader.since(start)
    if year is None:
        _date(reader, text, _LEAP_YEAR, month, int(day[0]))
        return MonthDay(month, int(day[0]))
    return _date(reader, text, _full_year(year["year"]), month, int(day[0]))


def _full_year(digits: str) -> int:
    """POSIX leaves two digits open; at(1) reads 00 to 69 as 2000 to 2069."""
    year = int(digits)
    if len(digits) > 2:
        return year
    return year + (2000 if year < 70 else 1900)


def _date(reader: Reader, text: str, year: int, month: int, day: int) -> date:
    try:
        return date(year, month, day)
    except ValueError:
        raise reader.wrong(f"there is no {quote(text)}") from None
