"""Thousands of answers of the real at(1), which record.py has written down."""

import pytest

from tests.readme import quoted, rows, section
from tests.timespec.corpus import entries, ours
from tests.timespec.differences import reason
from tests.timespec.specifications import MOMENTS

ENTRIES = tuple(entries())
DIFFERENCES = tuple(entry for entry in ENTRIES if entry.ours != entry.theirs)
DOCUMENTED = "### Where it is not at(1)"


@pytest.mark.parametrize(("zone", "now"), MOMENTS)
def test_every_answer_is_that_of_at_or_differs_on_purpose(zone: str, now: str) -> None:
    asked = [entry for entry in ENTRIES if (entry.zone, entry.now) == (zone, now)]
    assert [(e.spec, ours(e.spec, e.moment)) for e in asked] == [(e.spec, e.ours) for e in asked]
    assert asked


def test_every_difference_has_the_reason_that_fits_it() -> None:
    for entry in DIFFERENCES:
        assert entry.reason == reason(entry.spec, entry.theirs, entry.ours, entry.moment), entry


def test_the_readme_lists_every_difference_with_examples() -> None:
    specs: dict[str | None, set[str]] = {}
    for entry in DIFFERENCES:
        specs.setdefault(entry.reason, set()).add(entry.spec)
    documented = {row[0]: set(quoted(row[1])) for row in rows(DOCUMENTED)}
    assert documented.keys() == specs.keys()
    for why, examples in documented.items():
        assert examples <= specs[why]


def test_the_readme_tells_how_many_answers_are_compared() -> None:
    assert f"Answers to {len(ENTRIES):,} specifications" in section(DOCUMENTED)
