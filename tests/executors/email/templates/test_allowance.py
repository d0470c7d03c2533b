from decimal import Decimal

import pytest

from at_worker.executors.email.templates.allowance import (
    MOST,
    STEP,
    WIDEST,
    Allowance,
    TooMuch,
    refuse_wide_format,
)


def test_turns_of_loops_are_counted_until_the_allowance_is_used_up() -> None:
    turns = Allowance(STEP * 3).turns("abcde")
    assert [next(turns), next(turns), next(turns)] == ["a", "b", "c"]
    with pytest.raises(TooMuch, match=f"makes more than {MOST:,} characters"):
        next(turns)


def test_a_step_costs_more_the_longer_its_values_are() -> None:
    allowance = Allowance()
    allowance.step(["x" * 1000, [1, 2, 3], range(50), None, 2**400, Decimal("1e99")])
    assert allowance.left == MOST - STEP - 1000 - 3 - 50 - 1 - 1 - 100


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("replace", ["a" * 10_000, "a", "b" * 10_000]),
        ("join", ["x" * 10_000, ["y"] * 10_000]),
        ("center", ["x", WIDEST + 1]),
        ("ljust", ["x", 10**9]),
        ("round", [Decimal("1.5"), -(10**9)]),
        ("batch", [[1], 10**9, "x"]),
        ("format", ["%1000000000d", 1]),
        ("format_map", ["{a:1000000000}", {}]),
    ],
)
def test_what_one_call_would_make_too_much_of_is_not_called(name: str, values: list[object]) -> None:
    with pytest.raises(TooMuch):
        Allowance().foresee(name, values)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("replace", ["a" * 10_000, "a", "&amp;"]),
        ("join", [", ", ["name"] * 10_000]),
        ("center", ["x", 80]),
        ("round", [10**9, 2]),
        ("default", ["", 10**9]),
        ("format", ["%-20s %5.2f %%2000", "a", 1]),
    ],
)
def test_what_mails_need_is_called(name: str, values: list[object]) -> None:
    Allowance().foresee(name, values)


@pytest.mark.parametrize(
    ("operator", "left", "right"),
    [
        ("*", "x", 10**9),
        ("*", 10**9, ["x"]),
        ("**", 10, 10**9),
        ("%", "%1000000000d", 1),
        ("%", "%*d", (10**9, 1)),
    ],
)
def test_an_operator_that_would_make_too_much_is_not_applied(
    operator: str, left: object, right: object
) -> None:
    with pytest.raises(TooMuch):
        Allowance().foresee_operator(operator, left, right)


def test_numbers_of_millions_of_digits_are_not_multiplied() -> None:
    with pytest.raises(TooMuch):
        Allowance().foresee_operator("*", 1 << 14_000, 1 << 14_000)


@pytest.mark.parametrize(
    ("operator", "left", "right"),
    [
        ("*", "-", 72),
        ("*", 10**9, Decimal("19.90")),
        ("*", "x", -(10**9)),
        ("**", 2, 10),
        ("%", 10**9, 10**9),
        ("+", "a", "b"),
    ],
)
def test_ordinary_arithmetic_is_done(operator: str, left: object, right: object) -> None:
    Allowance().foresee_operator(operator, left, right)


@pytest.mark.parametrize("text", ["%5d", "%-20s", "{:,.2f}", "{0:>30}", "{a} costs 12345: {b}", "100 %"])
def test_formats_of_people_are_no_wide_ones(text: str) -> None:
    refuse_wide_format(text)


@pytest.mark.parametrize(
    "text", ["%9999d", "%.9999f", "%(a)1000000s", "%.*f", "{:9999}", "{a:.9999f}", "{:{w}}", "{a!r:>9999}"]
)
def test_wide_formats_are_refused(text: str) -> None:
    with pytest.raises(TooMuch):
        refuse_wide_format(text)
