"""Gives a specification its instant.

Where the wall clock changes, a time that it leaves out is as much later as the clock jumps; of a time that it
shows twice the first is meant, unless that has passed.
"""

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import assert_never

from at_worker.timespec.reader import quote
from at_worker.timespec.specification import Day, InDays, MonthDay, Specification, Weekday


def resolve(specification: Specification, text: str, now: datetime, *, past: bool = False) -> datetime:
    """The instant in the zone of `now`; as in at(1), now is the beginning of its minute.

    Raises ValueError, which quotes `text`, when no calendar has the instant, or it has passed and may not be
    `past`.
    """
    try:
        start = _in_zone(now, specification.zone or now.tzinfo).replace(second=0, microsecond=0)
        moment = _in_zone(_moment(specification, start), now.tzinfo)
        passed = _utc(moment) < _utc(start)
    except OverflowError:
        raise ValueError(f"{quote(text)} is too far away") from None
    except ValueError as error:
        raise ValueError(f"{quote(text)}: {error}") from None
    if passed and not past:
        raise ValueError(f"{quote(text)}: {moment.isoformat(' ')} has passed")
    return moment


def on_wall_clock(wall: datetime, start: datetime) -> datetime:
    """The instant at which clocks in the zone of `start` show `wall`, as this module reads it."""
    first, second = (wall.replace(tzinfo=start.tzinfo, fold=fold) for fold in (0, 1))
    shown_twice = _utc(second) > _utc(first)
    return _in_zone(second if shown_twice and _utc(first) < _utc(start) else first, start.tzinfo)


def _moment(specification: Specification, start: datetime) -> datetime:
    here = start.replace(tzinfo=None)
    midnight = datetime.combine(here, time())
    clock = here - midnight if specification.clock is None else specification.clock
    wall = datetime.combine(_date(specification.day, here.date()), time()) + clock
    for step in specification.steps:
        wall = _months_later(wall, step.months) + timedelta(days=step.days)
    moment = on_wall_clock(wall, start)
    elapsed = sum((step.elapsed for step in specification.steps), timedelta())
    if elapsed:
        moment = _in_zone(_utc(moment) + elapsed, start.tzinfo)
        wall = moment.replace(tzinfo=None)
    if specification.rolls_over and midnight <= wall <= here:
        return on_wall_clock(wall + timedelta(days=1), start)
    return moment


def _date(day: Day | None, today: date) -> date:
    match day:
        case None:
            return today
        case date():
            return day
        case InDays(days):
            return today + timedelta(days=days)
        case Weekday(number):
            return today + timedelta(days=(number - today.weekday() - 1) % 7 + 1)
        case MonthDay(month, number):
            passed = (month, number) < (today.month, today.day)
            return _day_of_month(today.year + passed, month, number)
        case _:
            assert_never(day)


def _day_of_month(year: int, month: int, day: int) -> date:
    try:
        return date(year, month, day)
    except ValueError:
        raise ValueError(f"there is no {year}-{month:02}-{day:02}") from None


def _months_later(wall: datetime, months: int) -> datetime:
    """What a month is too short for falls into the next, as with mktime: Jan 31 + 1 month is Mar 3."""
    years, month = divmod(wall.month - 1 + months, 12)
    if not date.min.year <= wall.year + years <= date.max.year:
        raise OverflowError
    return wall.replace(year=wall.year + years, month=month + 1, day=1) + timedelta(days=wall.day - 1)


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def _in_zone(moment: datetime, zone: tzinfo | None) -> datetime:
    # Through UTC, because Python leaves a time in its own zone as it is, even one that no clock shows.
    return _utc(moment).astimezone(zone)
