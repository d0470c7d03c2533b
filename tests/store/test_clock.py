import pytest

from at_worker.store.clock import Clock


def test_the_quickest_reply_of_the_window_counts() -> None:
    clock = Clock()
    clock.observe(database=1000.0, replied=10.020)
    clock.observe(database=1001.0, replied=11.001)
    clock.observe(database=1002.0, replied=12.030)
    assert clock.monotonic(1003.0) == pytest.approx(13.001)


def test_old_replies_are_forgotten_so_that_drift_does_not_make_it_early() -> None:
    clock = Clock()
    for second in range(100):
        # The database's clock loses a millisecond a second.
        clock.observe(database=1000.0 + second * 0.999, replied=10.0 + second)
    true = 109.0 - (1000.0 + 99 * 0.999)
    assert clock.monotonic(2000.0) - 2000.0 == pytest.approx(true, abs=0.011)


def test_a_database_clock_that_steps_back_is_followed_at_once() -> None:
    clock = Clock()
    clock.observe(database=1000.0, replied=10.0)
    clock.observe(database=990.0, replied=11.0)
    assert clock.monotonic(1000.0) == pytest.approx(21.0)


def test_a_database_clock_that_steps_forward_is_followed_at_once() -> None:
    clock = Clock()
    clock.observe(database=1000.0, replied=10.0)
    clock.observe(database=4601.0, replied=11.0)
    assert clock.monotonic(4602.0) == pytest.approx(12.0)


def test_a_quick_reply_is_wanted_once_a_window() -> None:
    clock = Clock()
    assert clock.stale(0.0)
    clock.observe(database=1000.0, replied=10.0)
    assert not clock.stale(14.9)
    assert clock.stale(15.0)
