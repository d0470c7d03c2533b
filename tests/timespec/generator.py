"""Random specifications by the grammar of at(1)."""

from random import Random

MONTHS = ("Jan", "feb", "MAR", "April", "may", "June", "jul", "aug", "september", "Oct", "nov", "Dec")
WEEKDAYS = ("sun", "monday", "Tue", "wed", "thursday", "fri", "Sat")
PERIODS = (
    "min",
    "minute",
    "minutes",
    "hour",
    "hours",
    "day",
    "days",
    "week",
    "weeks",
    "month",
    "months",
    "year",
)


def generate(chance: Random) -> str:
    """A specification that at(1) understands, though it may have passed."""
    bases = (
        "now",
        _clock(chance),
        _day(chance),
        f"{_clock(chance)} {_day(chance)}",
        f"{_clock(chance)} {_day(chance)}",
    )
    return chance.choice(bases) + chance.choice(("", _increment(chance)))


def _clock(chance: Random) -> str:
    hour, minute = chance.randint(0, 23), chance.randint(0, 59)
    half = f"{hour % 12 + 1}"
    forms = (
        f"{hour}:{minute:02}",
        f"{hour:02}{minute:02}",
        f"{hour:02}.{minute:02}",
        f"{half}pm",
        f"{half} AM",
        f"{half}:{minute:02} am",
        "noon",
        "midnight",
        "teatime",
    )
    return chance.choice(forms)


def _day(chance: Random) -> str:
    year, month, day = chance.choice((2020, 2021)), chance.randint(1, 12), chance.randint(1, 28)
    name = chance.choice(MONTHS)
    forms = (
        "today",
        "tomorrow",
        chance.choice(WEEKDAYS),
        f"next {chance.choice(('week', 'month', 'day', *WEEKDAYS))}",
        f"{name} {day}",
        f"{day} {name}",
        f"{name} {day} {year}",
        f"{name} {day}, {year % 100}",
        f"{day}.{month}.{year}",
        f"{month}/{day}/{year}",
        f"{year}-{month}-{day:02}",
        f"{month}{day:02}{year}",
    )
    return chance.choice(forms)


def _increment(chance: Random) -> str:
    blank, sign = chance.choice(("", " ")), chance.choice("++++-")
    period = chance.choice(PERIODS)
    return f"{blank}{sign}{blank}{chance.randint(1, 3 if period == 'year' else 40)}{blank}{period}"
