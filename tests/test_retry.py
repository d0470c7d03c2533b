import pytest
from hypothesis import given
from hypothesis import strategies as st

from at_worker.retry import backoff

DELAYS = (30.0, 120.0, 600.0)


@pytest.mark.parametrize(("attempt", "delay"), [(2, 30), (3, 120), (4, 600)])
def test_each_attempt_from_the_second_on_has_its_delay(attempt: int, delay: float) -> None:
    assert backoff(attempt, DELAYS, 0.0) == delay


@pytest.mark.parametrize("attempt", [5, 6, 2_000_000])
def test_the_last_delay_repeats(attempt: int) -> None:
    assert backoff(attempt, DELAYS, 0.0) == 600


@given(
    attempt=st.integers(2, 50),
    delays=st.lists(st.floats(0, 1e6), min_size=1, max_size=9),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_a_wait_is_never_shorter_than_its_delay_and_at_most_a_fifth_longer(
    attempt: int, delays: list[float], chance: float
) -> None:
    delay = delays[min(attempt - 2, len(delays) - 1)]
    assert delay <= backoff(attempt, delays, chance) <= delay * 1.2
