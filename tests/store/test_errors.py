import pytest

from at_worker.store import errors
from at_worker.store.errors import Away, Forbidden, MissingTable, Refused, Unavailable


@pytest.mark.parametrize(
    ("state", "means", "spares"),
    [
        ("40001", Unavailable, True),
        ("40P01", Unavailable, True),
        ("55P03", Unavailable, True),
        ("57014", Unavailable, True),
        ("53100", Unavailable, True),
        ("53200", Unavailable, True),
        ("53300", Away, False),
        ("57P01", Away, False),
        ("08006", Away, False),
        ("25006", Away, False),
        ("", Away, False),
        ("XX000", Unavailable, False),
        ("42501", Forbidden, True),
        ("23505", Refused, True),
        ("P0001", Refused, True),
    ],
)
def test_a_state_tells_whether_waiting_helps_and_the_connection_is_good(
    state: str, means: type[Exception], spares: bool
) -> None:
    assert type(errors.of_statement(state, "why")) is means
    assert errors.spares_connection(state) is spares


def test_a_schema_that_finds_the_disk_full_may_be_applied_later() -> None:
    assert type(errors.of_script("53100", "why")) is Unavailable


def test_a_missing_table_is_told_from_other_missing_things() -> None:
    assert type(errors.of_statement("42P01", 'relation "scheduled_tasks" is missing')) is MissingTable
    assert type(errors.of_statement("42P01", 'relation "orders" is missing')) is Refused
