from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from at_worker.timespec import parse_posix_t

NOW = datetime(2026, 11, 24, 12, 47, 30, tzinfo=ZoneInfo("Europe/Berlin"))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("12311630", "2026-12-31T16:30:00+01:00"),
        ("12311630.15", "2026-12-31T16:30:15+01:00"),
        ("2707311630", "2027-07-31T16:30:00+02:00"),
        ("202707311630.59", "2027-07-31T16:30:59+02:00"),
        ("202710310230", "2027-10-31T02:30:00+02:00"),
    ],
)
def test_the_year_and_the_seconds_may_be_missing(spec: str, expected: str) -> None:
    assert parse_posix_t(spec, NOW).isoformat() == expected


def test_a_time_may_have_passed_as_with_at() -> None:
    assert parse_posix_t("01010000", NOW).isoformat() == "2026-01-01T00:00:00+01:00"


@pytest.mark.parametrize(("digits", "year"), [("68", 2068), ("69", 1969), ("99", 1999), ("00", 2000)])
def test_two_digits_of_a_year_are_those_of_1969_to_2068(digits: str, year: int) -> None:
    assert parse_posix_t(f"{digits}06010000", NOW).year == year


@pytest.mark.parametrize(
    "spec", ["", "tomorrow", "0731163", "073116300", "07311630.1", " 07311630", "٠٧٣١١٦٣٠"]
)
def test_another_form_is_refused_with_the_right_one(spec: str) -> None:
    with pytest.raises(ValueError, match=r"is not of the form \[\[CC]YY]MMDDhhmm\[\.SS]"):
        parse_posix_t(spec, NOW)


@pytest.mark.parametrize(
    "spec", ["13010000", "202702290000", "01012400", "01010060", "01010000.60", "000001010000"]
)
def test_a_time_that_does_not_exist_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match=f"'{spec}': there is no such time"):
        parse_posix_t(spec, NOW)


def test_a_time_that_the_clock_leaves_out_is_refused_as_with_at() -> None:
    with pytest.raises(ValueError, match="clocks leave this time out"):
        parse_posix_t("202703280230", NOW)
