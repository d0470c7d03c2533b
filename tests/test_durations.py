import pytest
from hypothesis import given
from hypothesis import strategies as st

from at_worker.durations import seconds, spoken


@pytest.mark.parametrize(
    ("text", "length"),
    [("30s", 30), ("5m", 300), ("2h", 7200), ("7d", 604_800), ("1.5m", 90), (".5s", 0.5), ("0s", 0)],
)
def test_a_duration_has_the_unit_that_it_names(text: str, length: float) -> None:
    assert seconds(text, "d") == length


@pytest.mark.parametrize(("unit", "length"), [("s", 2.5), ("m", 150), ("h", 9000), ("d", 216_000)])
def test_a_bare_number_counts_in_the_unit_of_its_setting(unit: str, length: float) -> None:
    assert seconds("2.5", unit) == length


def test_blanks_around_number_and_unit_do_not_matter() -> None:
    assert seconds(" 30 s ", "m") == 30


@pytest.mark.parametrize(
    "text", ["", "soon", "s", "-1s", "+1", "1w", "1e3", "inf", "nan", "1,5s", "1m30s", "٣s", "1_000", "0x1"]
)
def test_anything_else_is_refused_with_an_example_of_what_is_right(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration; write 30s, 5m, 2h or 7d"):
        seconds(text, "s")


@given(st.text(max_size=20))
def test_no_text_gives_a_negative_duration_or_another_error(text: str) -> None:
    try:
        length = seconds(text, "s")
    except ValueError:
        return
    assert length >= 0


@pytest.mark.parametrize(
    ("length", "told"),
    [
        (-1, "0 ms"),
        (0.0034, "3 ms"),
        (0.9999, "1 s"),
        (1.26, "1.3 s"),
        (9.96, "10 s"),
        (5, "5 s"),
        (59.6, "1 min"),
        (90, "1 min 30 s"),
        (3600, "1 h"),
        (3659, "1 h"),
        (9000, "2 h 30 min"),
        (86_400 * 3 + 59, "3 d"),
        (86_400 * 400, "400 d"),
    ],
)
def test_a_duration_is_told_in_its_two_largest_units(length: float, told: str) -> None:
    assert spoken(length) == told
