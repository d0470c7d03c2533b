"""The grammar: `[TIME [utc]] [DATE] [next PERIOD] [(+|-) COUNT PERIOD]`, or `now` for time and date."""

import re
from dataclasses import replace
from datetime import datetime, timedelta

from at_worker.timespec.days import read_day
from at_worker.timespec.reader import Reader, quote
from at_worker.timespec.specification import Specification, Step
from at_worker.timespec.words import CLOCKS, HALVES, PERIODS, ZONES

_NOW = re.compile("now", re.IGNORECASE)
_NEXT = re.compile("next", re.IGNORECASE)
_SIGN = re.compile("[+-]")
_COUNT = re.compile(r"\d{1,9}(?!\d)", re.ASCII)
# A separator is needed only after a single digit of the hour.
_CLOCK = re.compile(
    r"(?P<hour>\d\d?)(?:(?:\s*:\s*|['h,.]|(?<=\d\d))(?P<minute>\d\d))?(?!\d)", re.ASCII | re.IGNORECASE
)
# `+30 days` after the time is a way to go, not an offset.
_ISO_8601 = re.compile(
    r"(?P<local>\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,6})?)?)"
    r"(?:\s?(?P<offset>Z|[+-]\d\d(?::?\d\d)?)(?!\d|\s*[a-z]))?",
    re.ASCII | re.IGNORECASE,
)


def read(text: str) -> Specification:
    """What a text says. Raises ValueError, which names the word that is not understood."""
    reader = Reader(text)
    base = _base(reader)
    steps = _next_period(reader)
    if base is None and not steps:
        raise reader.not_understood()
    base = base or Specification()
    steps += _increment(reader)
    if not reader.at_end():
        raise _left_over(reader, base)
    return replace(base, steps=steps)


def _base(reader: Reader) -> Specification | None:
    if reader.take(_NOW):
        return Specification()
    if iso := reader.take(_ISO_8601):
        return _iso_8601(reader, iso)
    day = read_day(reader)
    if day is not None:
        return Specification(day=day)
    clock = _clock(reader)
    if clock is None:
        return None
    zone = reader.word(ZONES)
    return Specification(clock, read_day(reader), zone)


def _iso_8601(reader: Reader, match: re.Match[str]) -> Specification:
    try:
        moment = datetime.fromisoformat((match["local"] + (match["offset"] or "")).upper())
    except ValueError:
        raise reader.wrong(f"there is no {quote(match[0])}") from None
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return Specification(moment - midnight, moment.date(), moment.tzinfo)


def _clock(reader: Reader) -> timedelta | None:
    named = reader.word(CLOCKS)
    if named is not None:
        return named
    start = reader.position
    match = reader.take(_CLOCK)
    if match is None:
        return None
    hour, minute = int(match["hour"]), int(match["minute"] or 0)
    afternoon = reader.word(HALVES)
    if minute > 59:
        raise reader.wrong(f"{quote(match[0])} has more than 59 minutes")
    if afternoon is not None:
        if hour > 12:
            raise reader.wrong(f"{quote(reader.since(start))} has more than 12 hours")
        return timedelta(hours=hour % 12 + afternoon, minutes=minute)
    if hour * 60 + minute > 24 * 60:
        raise reader.wrong(f"{quote(match[0])} is later than 24:00")
    return timedelta(hours=hour, minutes=minute)


def _next_period(reader: Reader) -> tuple[Step, ...]:
    if not reader.take(_NEXT):
        return ()
    period = reader.word(PERIODS)
    if period is None:
        raise reader.not_understood()
    return (period,)


def _increment(reader: Reader) -> tuple[Step, ...]:
    sign = reader.take(_SIGN)
    if sign is None:
        return ()
    count = reader.take(_COUNT)
    period = reader.word(PERIODS) if count else None
    if count is None or period is None:
        raise reader.not_understood()
    return (period.times(int(sign[0] + count[0])),)


def _left_over(reader: Reader, base: Specification) -> ValueError:
    start, error = reader.position, reader.not_understood()
    if base.clock is None and _clock(reader) is not None and reader.at_end():
        return reader.wrong(f"{quote(reader.since(start))} is a time of day, which stands before the date")
    return error
