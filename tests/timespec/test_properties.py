"""What holds for every specification, whatever the moment."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from at_worker.timespec import parse, parse_posix_t
from at_worker.timespec.words import VOCABULARY
from tests.timespec.generator import generate

EARLIEST = datetime(1980, 1, 1)  # noqa: DTZ001 - hypothesis adds the zones
LATEST = datetime(2090, 1, 1)  # noqa: DTZ001 - the same
MOMENTS = st.datetimes(EARLIEST, LATEST, timezones=st.timezones())
ANY_MOMENTS = st.datetimes(timezones=st.timezones())
SPECIFICATIONS = st.randoms(use_true_random=False).map(generate)
TIMES = st.one_of(
    st.times().map("{:%H:%M}".format), st.times().map("{:%I%p}".format), st.sampled_from(["noon", "teatime"])
)
NEARLY_RIGHT = st.lists(
    st.one_of(st.sampled_from(VOCABULARY), st.from_regex(r"[0-9]{1,12}|[-+.,:/]", fullmatch=True)), max_size=7
)


def answer(spec: str, now: datetime) -> datetime | None:
    with suppress(ValueError):
        return parse(spec, now)
    return None


@given(st.text(), ANY_MOMENTS)
def test_any_text_gives_a_time_or_a_value_error(spec: str, now: datetime) -> None:
    answer(spec, now)


@given(NEARLY_RIGHT, st.sampled_from(["", " ", "\u00a0", "\x1c"]), ANY_MOMENTS)
def test_words_of_the_language_in_any_order_give_a_time_or_a_value_error(
    words: list[str], blank: str, now: datetime
) -> None:
    answer(blank.join(words), now)


@given(st.from_regex(r"[0-9]{8,12}(\.[0-9]{2})?", fullmatch=True), ANY_MOMENTS)
def test_any_digits_for_t_give_a_time_or_a_value_error(spec: str, now: datetime) -> None:
    with suppress(ValueError):
        assert parse_posix_t(spec, now).tzinfo is now.tzinfo


@given(SPECIFICATIONS, MOMENTS)
def test_a_time_is_in_the_zone_of_now_and_not_before_this_minute(spec: str, now: datetime) -> None:
    moment = answer(spec, now)
    if moment is not None:
        assert moment.tzinfo is now.tzinfo
        assert moment.astimezone(UTC) > now.astimezone(UTC) - timedelta(minutes=1)


@given(TIMES, MOMENTS)
def test_a_bare_time_always_comes_after_now_and_within_a_day(spec: str, now: datetime) -> None:
    ahead = parse(spec, now).astimezone(UTC) - now.astimezone(UTC)
    clock_change = timedelta(hours=26)  # Samoa once left out a whole day
    assert timedelta() < ahead <= timedelta(days=1) + clock_change


@given(SPECIFICATIONS, MOMENTS)
def test_case_and_blanks_do_not_matter(spec: str, now: datetime) -> None:
    assert answer(f"\t{spec.swapcase().replace(' ', '  ')}\n", now) == answer(spec, now)


@given(SPECIFICATIONS, st.from_regex(r"x[a-z]{1,20}", fullmatch=True), st.booleans(), MOMENTS)
def test_the_error_names_the_word_that_is_not_understood(
    spec: str, word: str, first: bool, now: datetime
) -> None:
    with pytest.raises(ValueError, match=f"'{word}' is not understood"):
        parse(f"{word} {spec}" if first else f"{spec} {word}", now)
