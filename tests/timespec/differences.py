"""Why an answer of ours is not that of at(1), in the words of the README's table."""

import re
from datetime import datetime, timedelta

MORE_FORMS = "more forms"
NO_SUCH_TIME = "a time that does not exist"
OLD_YEAR = "a year of four digits"
UTC = "`utc`"
CLOCK_CHANGE = "a change of the clock"
PASSED_DATE = "a way from a date that has passed"
INTO_THE_PAST = "a way back into the past"
MONTHS = "a way of months into another year"
NEXT_HOUR = "`next hour` after a time"

_FORMS = {
    OLD_YEAR: re.compile(r"\b[01]\d{3}\b"),
    INTO_THE_PAST: re.compile(r"-\s*\d+\s*[a-z]", re.IGNORECASE),
    PASSED_DATE: re.compile(r"([a-z]{3} ?\d\d?|\d ?[a-z]{3,})\s*[+-]", re.IGNORECASE),
    MONTHS: re.compile(r"\d\s*months?$", re.IGNORECASE),
    NEXT_HOUR: re.compile(r"next (hour|min(ute)?)$"),
}
_LONGEST_JUMP = timedelta(hours=2)
_NEAR = timedelta(days=2)
_MONTH = timedelta(days=30)


def reason(spec: str, theirs: str, ours: str, now: datetime) -> str | None:
    """The one that explains a difference, or None for a difference that nobody wants."""
    if ours == "garbled":
        return NO_SUCH_TIME
    if theirs == "garbled":
        return MORE_FORMS
    if re.search(r"utc\b", spec, re.IGNORECASE):
        return UTC
    if ours == "past":
        return _by_form(spec, INTO_THE_PAST, OLD_YEAR)
    if _clock_changes(theirs, datetime.fromisoformat(ours), now):
        return CLOCK_CHANGE
    return _by_form(spec, NEXT_HOUR, PASSED_DATE, MONTHS)


def _by_form(spec: str, *reasons: str) -> str | None:
    return next((why for why in reasons if _FORMS[why].search(spec)), None)


def _clock_changes(theirs: str, ours: datetime, now: datetime) -> bool:
    """Tell whether clocks change on the way, and ours is no more than that from theirs or from now."""
    way = [now + _MONTH * months for months in range((ours - now) // _MONTH + 1)]
    around = (now - _NEAR, *way, ours - _NEAR, ours + _NEAR)
    if len({moment.astimezone(now.tzinfo).utcoffset() for moment in around}) == 1:
        return False
    near = (now,) if theirs == "past" else (now, datetime.fromisoformat(theirs))
    return min(abs(ours - moment) for moment in near) <= _LONGEST_JUMP
