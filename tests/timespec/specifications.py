"""What is asked, and when.

The specifications of everywhere.txt (the manual of at(1), the examples of POSIX, what people type) and random
ones are asked at every moment; those of once.txt, whose meaning hardly depends on it, at the first. The years
are those whose time zone rules are history, so that the answers never change.
"""

import random
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from tests.timespec.generator import generate

MOMENTS = (
    ("Europe/Berlin", "2019-11-19T12:47:33+01:00"),
    ("Europe/Berlin", "2019-12-31T23:59:30+01:00"),
    ("Europe/Berlin", "2020-03-28T22:30:05+01:00"),  # the night in which 2:00 is 3:00
    ("Europe/Berlin", "2020-03-29T03:15:00+02:00"),  # soon after it
    ("Europe/Berlin", "2020-03-29T04:00:00+02:00"),
    ("Europe/Berlin", "2020-10-25T02:30:00+02:00"),  # the first half past two of two
    ("Europe/Berlin", "2020-10-25T02:30:00+01:00"),  # the second
    ("America/New_York", "2020-02-29T08:00:00-05:00"),
    ("America/New_York", "2020-03-07T18:00:59-05:00"),
    ("America/New_York", "2020-10-31T23:15:00-04:00"),
    ("America/Los_Angeles", "2019-07-04T17:30:00-07:00"),
    ("America/Sao_Paulo", "2018-11-04T01:05:00-02:00"),  # today had no midnight
    ("America/Sao_Paulo", "2019-01-31T00:00:00-02:00"),
    ("Australia/Lord_Howe", "2020-04-04T12:00:00+11:00"),  # clocks change by half an hour
    ("Australia/Lord_Howe", "2020-10-03T12:00:00+10:30"),
    ("Europe/Dublin", "2020-10-24T13:00:00+01:00"),  # winter is the exception
    ("Asia/Tokyo", "2019-11-05T08:00:10+09:00"),  # in UTC it is yesterday
    ("Asia/Kathmandu", "2020-08-31T16:00:00+05:45"),
    ("UTC", "2020-02-28T23:59:59+00:00"),
)
_GENERATED = 60


def asked(number: int) -> Iterator[str]:
    """The specifications for one of the moments."""
    yield from _lines("everywhere.txt")
    if number == 0:
        yield from _lines("once.txt")
    chance = random.Random(number)  # noqa: S311 - the same each time, and no secret
    for _ in range(_GENERATED):
        yield generate(chance)


def moment(zone: str, now: str) -> datetime:
    return datetime.fromisoformat(now).astimezone(ZoneInfo(zone))


def _lines(name: str) -> list[str]:
    return Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines()
