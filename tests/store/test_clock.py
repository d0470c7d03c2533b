import pytest

from at_worker.store.clock import Clock


def test_the_quickest_reply_of_the_window_counts() -> None:
    clock = Clock()
    for second, seconds in enumerate([0.020, 0.001, 0.030]):
        clock.observe(asked=10.0 + second, database=1000.0 + second, replied=10.0 + second + seconds)
    assert clock.monotonic(1003.0) == pytest.approx(13.001)
    assert clock.database(13.0) == pytest.approx(1002.999)


def test_a_slow_reply_makes_nothing_late() -> None:
    """A claim may wait for its commit, that is for a disk or a standby."""
    clock = Clock()
    clock.observe(asked=10.0, database=1000.0, replied=10.001)
    clock.observe(asked=11.0, database=1001.0, replied=14.0)
    assert clock.monotonic(1003.0) == pytest.approx(13.001)


@pytest.mark.parametrize("loses", [0.001, 0.00005])
def test_a_database_clock_that_goes_slow_makes_nothing_early(loses: float) -> None:
    """Nor does one that is looked at again only after a long time."""
    clock = Clock()
    for second in [*range(20), 50, 80, 1000]:
        true = 10.0 + second - (1000.0 + second * (1 - loses))
        clock.observe(10.0 + second - 0.0005, 10.0 + second - true, 10.0 + second + 0.0005)
        # The way of the question is all that may go unnoticed.
        assert -0.0005 <= clock.shift - true <= 0.0115


@pytest.mark.parametrize("seconds", [10.0, 0.04])
def test_a_database_clock_that_steps_back_is_followed_at_once(seconds: float) -> None:
    clock = Clock()
    clock.observe(asked=9.999, database=1000.0, replied=10.0)
    clock.observe(asked=10.999, database=1001.0 - seconds, replied=11.0)
    assert clock.monotonic(1001.0) == pytest.approx(11.0 + seconds)


def test_a_database_clock_that_steps_forward_is_followed_at_once() -> None:
    clock = Clock()
    clock.observe(asked=9.999, database=1000.0, replied=10.0)
    clock.observe(asked=10.999, database=4601.0, replied=11.0)
    assert clock.monotonic(4602.0) == pytest.approx(12.0)


def test_a_quick_reply_is_wanted_once_a_window() -> None:
    clock = Clock()
    assert clock.stale(0.0)
    clock.observe(asked=9.999, database=1000.0, replied=10.0)
    assert not clock.stale(14.9)
    assert clock.stale(15.0)
