"""The words of the language: those of at(1), in English whatever the locale."""

from datetime import UTC, timedelta

from at_worker.timespec.specification import InDays, Step

CLOCKS = {"midnight": timedelta(), "noon": timedelta(hours=12), "teatime": timedelta(hours=16)}
HALVES = {"am": 0, "pm": 12}
ZONES = {"utc": UTC}
DAYS = {"today": InDays(0), "tomorrow": InDays(1)}

_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def _long_and_short(names: tuple[str, ...], first: int) -> dict[str, int]:
    numbered = list(enumerate(names, first))
    return {word: number for number, name in numbered for word in (name, name[:3])}


MONTHS = _long_and_short(_MONTHS, first=1)
WEEKDAYS = _long_and_short(_WEEKDAYS, first=0)

_PERIODS = {
    "minute": Step(elapsed=timedelta(minutes=1)),
    "hour": Step(elapsed=timedelta(hours=1)),
    "day": Step(days=1),
    "week": Step(days=7),
    "month": Step(months=1),
    "year": Step(months=12),
}
PERIODS = {"min": _PERIODS["minute"], **_PERIODS, **{f"{name}s": step for name, step in _PERIODS.items()}}

VOCABULARY = ("now", "next", *CLOCKS, *HALVES, *ZONES, *DAYS, *MONTHS, *WEEKDAYS, *PERIODS)
