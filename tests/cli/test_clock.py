from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from at_worker.cli import clock
from at_worker.cli.errors import WrongArgument

Move = Callable[[str], None]
NOON = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "Australia/Lord_Howe"]
)
def test_the_zone_is_the_callers_with_all_its_changes(zone: str, in_zone: Move) -> None:
    in_zone(zone)
    for minutes in range(0, 366 * 24 * 60, 15):
        moment = datetime(2026, 1, 1, microsecond=123_457, tzinfo=UTC) + timedelta(minutes=minutes)
        here, there = moment.astimezone(clock.LOCAL), moment.astimezone(ZoneInfo(zone))
        assert (here.replace(tzinfo=None), here.fold) == (there.replace(tzinfo=None), there.fold)
        assert here.astimezone(UTC) == moment


@pytest.mark.parametrize("zone", ["CET-1CEST,M3.5.0,M10.5.0/3", ":Europe/Berlin"])
def test_the_zone_may_be_anything_that_the_c_library_knows(zone: str, in_zone: Move) -> None:
    in_zone(zone)
    assert clock.full(NOON) == "2026-11-27 13:00:00.000+01:00"
    assert clock.full(NOON - timedelta(days=120)) == "2026-07-30 14:00:00.000+02:00"


def test_a_specification_is_read_in_the_zone_at_the_given_now(in_zone: Move) -> None:
    in_zone("Europe/Berlin")
    assert clock.read("4pm tomorrow", NOON) == datetime(2026, 11, 28, 15, 0, tzinfo=UTC)
    assert clock.read("now + 1 minute", NOON) == NOON + timedelta(minutes=1)
    assert clock.read("2026-12-24 18:00Z", NOON) == datetime(2026, 12, 24, 18, 0, tzinfo=UTC)
    assert clock.read_words((), "202611271600.30", NOON) == datetime(2026, 11, 27, 15, 0, 30, tzinfo=UTC)


def test_a_time_that_comes_twice_is_the_first(in_zone: Move) -> None:
    in_zone("Europe/Berlin")
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert clock.read("2:30", first - timedelta(hours=1)) == first


def test_what_has_passed_is_refused_but_where_one_looks_back() -> None:
    with pytest.raises(WrongArgument, match="has passed"):
        clock.read("now - 2 hours", NOON)
    assert clock.read("now - 2 hours", NOON, past=True) == NOON - timedelta(hours=2)


@pytest.mark.parametrize(
    ("words", "posix_t", "problem"),
    [
        (("4pm", "gibberish"), None, "'gibberish' is not understood"),
        ((), "gibberish", "'gibberish' is not of the form"),
        ((), None, "say when: a TIMESPEC, or -t"),
        (("noon",), "202611271600", "not with both"),
    ],
)
def test_what_is_not_understood_is_a_wrong_argument(
    words: tuple[str, ...], posix_t: str | None, problem: str
) -> None:
    with pytest.raises(WrongArgument, match=problem):
        clock.read_words(words, posix_t, NOON)


def test_times_are_said_in_the_zone(in_zone: Move) -> None:
    in_zone("Europe/Berlin")
    assert clock.short(NOON) == "2026-11-27 13:00:00"
    assert clock.as_at(NOON - timedelta(days=20)) == "Sat Nov  7 13:00:00 2026"
