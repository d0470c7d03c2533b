"""What at(1) cannot tell us: our own rules and messages. The rest is in test_at_corpus.py."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from at_worker.timespec import parse

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 24, 12, 47, 30, tzinfo=BERLIN)  # a Tuesday


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("10am tomorow", "'10am tomorow': 'tomorow' is not understood; is 'tomorrow' meant?"),
        ("now + 3 dyas", "'now + 3 dyas': 'dyas' is not understood; is 'days' meant?"),
        ("4pm gibberish", "'4pm gibberish': 'gibberish' is not understood"),
        ("half past four", "'half past four': 'half' is not understood"),
        ("Jul 31st", "'Jul 31st': 'st' is not understood"),
        ("4pm 31.7.", "'4pm 31.7.': '31.7.' is not understood"),
        ("now + 3.5 hours", "'now + 3.5 hours': '3.5' is not understood"),
        ("next 3 days", "'next 3 days': '3' is not understood"),
        ("+ 3 days", "'+ 3 days': '+' is not understood"),
        ("now 3 days", "'now 3 days': '3' is not understood"),
        ("4pm\u00a0tomorow", "'4pm\\xa0tomorow': 'tomorow' is not understood; is 'tomorrow' meant?"),
        ("tomorrow 4pm", "'tomorrow 4pm': '4pm' is a time of day, which stands before the date"),
        ("now +", "'now +': something is missing at its end"),
        ("Jul", "'Jul': something is missing at its end"),
        ("", "'': something is missing at its end"),
    ],
)
def test_the_error_points_at_the_word_that_is_not_understood(spec: str, message: str) -> None:
    assert refusal(spec) == message


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("16:61 today", "'16:61 today': '16:61' has more than 59 minutes"),
        ("13:00pm", "'13:00pm': '13:00pm' has more than 12 hours"),
        ("24:01", "'24:01': '24:01' is later than 24:00"),
        ("4pm Feb 30", "'4pm Feb 30': there is no 'Feb 30'"),
        ("Feb 29", "'Feb 29': there is no 2027-02-29"),
        ("31.9.2027", "'31.9.2027': there is no '31.9.2027'"),
        ("2027-07-31T25:00", "'2027-07-31T25:00': there is no '2027-07-31T25:00'"),
    ],
)
def test_the_error_names_the_time_that_does_not_exist(spec: str, message: str) -> None:
    assert refusal(spec) == message


@pytest.mark.parametrize(
    "spec", ["now - 1 minute", "8am today", "1.1.2020", "tomorrow - 3 days", "2026-11-24T12:46"]
)
def test_what_has_passed_is_refused_with_the_time_that_was_understood(spec: str) -> None:
    assert refusal(spec).startswith(f"{spec!r}: 20")
    assert refusal(spec).endswith(" has passed")


@pytest.mark.parametrize(
    ("spec", "meant"),
    [("now - 1 minute", "2026-11-24 12:46:00+01:00"), ("1.1.2020", "2020-01-01 12:47:00+01:00")],
)
def test_who_looks_back_may_name_what_has_passed(spec: str, meant: str) -> None:
    assert str(parse(spec, NOW, past=True)) == meant


@pytest.mark.parametrize("spec", ["now + 9999 years", "now + 999999999 days", "now + 999999999 months"])
def test_what_no_calendar_reaches_is_too_far_away(spec: str) -> None:
    assert refusal(spec) == f"{spec!r} is too far away"


def test_a_long_text_is_quoted_only_in_part() -> None:
    assert len(refusal("x" * 100_000)) < 200


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        parse("4pm", NOW.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("2027-07-31T16:00", "2027-07-31T16:00:00+02:00"),
        ("2027-07-31 16:00:30.25", "2027-07-31T16:00:30.250000+02:00"),
        ("2027-07-31t16:00z", "2027-07-31T18:00:00+02:00"),
        ("2027-07-31 16:00 +0900", "2027-07-31T09:00:00+02:00"),
        ("2027-07-31T16:00-05", "2027-07-31T23:00:00+02:00"),
        ("2027-07-31T16:00+30days", "2027-08-30T16:00:00+02:00"),
    ],
)
def test_iso_8601_has_seconds_and_offsets(spec: str, expected: str) -> None:
    assert parse(spec, NOW).isoformat() == expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("2:30 Mar 28 2027", "2027-03-28T03:30:00+02:00"),
        ("2:30 Mar 27 2027 + 1 day", "2027-03-28T03:30:00+02:00"),
        ("1:30 Mar 28 2027 + 1 hour", "2027-03-28T03:30:00+02:00"),
        ("4pm Mar 27 2027 + 24 hours", "2027-03-28T17:00:00+02:00"),
        ("4pm Mar 27 2027 + 1 day", "2027-03-28T16:00:00+02:00"),
        ("2:30 Oct 31 2027", "2027-10-31T02:30:00+02:00"),
        ("1:30 Oct 31 2027 + 2 hours", "2027-10-31T02:30:00+01:00"),
    ],
)
def test_where_the_clock_changes_days_keep_the_time_of_day_and_hours_really_pass(
    spec: str, expected: str
) -> None:
    assert parse(spec, NOW).isoformat() == expected


def test_a_time_that_the_clock_left_out_today_has_passed_and_means_tomorrow() -> None:
    soon_after = datetime(2027, 3, 28, 3, 15, tzinfo=BERLIN)
    assert parse("2:30", soon_after).isoformat() == "2027-03-29T02:30:00+02:00"


def test_of_a_time_that_comes_twice_the_one_that_has_not_passed_is_meant() -> None:
    between = datetime(2027, 10, 31, 2, 15, tzinfo=BERLIN, fold=1)
    assert parse("2:30", between).isoformat() == "2027-10-31T02:30:00+01:00"


def test_with_utc_the_day_is_that_of_utc() -> None:
    tokyo = datetime(2026, 11, 24, 8, 0, tzinfo=ZoneInfo("Asia/Tokyo"))  # in UTC it is still the 23rd
    assert parse("23:30 utc", tokyo).astimezone(UTC).isoformat() == "2026-11-23T23:30:00+00:00"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("Jan 31 2027 + 1 month", "2027-03-03"),
        ("Jan 31 2028 + 1 month", "2028-03-02"),
        ("Mar 31 2027 - 1 month", "2027-03-03"),
        ("Feb 29 2028 + 1 year", "2029-03-01"),
        ("Jan 30 2027 + 13 months", "2028-03-01"),
    ],
)
def test_days_that_a_month_does_not_have_fall_into_the_next(spec: str, expected: str) -> None:
    assert parse(spec, NOW).date().isoformat() == expected


def refusal(spec: str) -> str:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the message is what the tests look at
        parse(spec, NOW)
    return str(refused.value)
