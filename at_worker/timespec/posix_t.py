"""`[[CC]YY]MMDDhhmm[.SS]`, the exact time of at -t and touch -t (POSIX XCU, touch)."""

import re
from datetime import datetime

from at_worker.timespec.calendar import on_wall_clock
from at_worker.timespec.reader import quote

_FORM = re.compile(
    r"(?:(?P<century>\d\d)?(?P<year>\d\d))?"
    r"(?P<month>\d\d)(?P<day>\d\d)(?P<hour>\d\d)(?P<minute>\d\d)(?:\.(?P<second>\d\d))?",
    re.ASCII,
)


def read(text: str, now: datetime) -> datetime:
    """The instant in the zone of `now`. Raises ValueError."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{quote(text)} is not of the form [[CC]YY]MMDDhhmm[.SS]")
    year = _year(match["century"], match["year"], now)
    month, day, hour, minute, second = (int(part or 0) for part in match.groups()[2:])
    try:
        wall = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - its zone is that of now
        moment = on_wall_clock(wall, now)
    except (ValueError, OverflowError):
        raise ValueError(f"{quote(text)}: there is no such time") from None
    if moment.replace(tzinfo=None) != wall:
        raise ValueError(f"{quote(text)}: clocks leave this time out")
    return moment


def _year(century: str | None, year: str | None, now: datetime) -> int:
    if year is None:
        return now.year
    if century is not None:
        return int(century + year)
    return int(year) + (2000 if int(year) < 69 else 1900)
