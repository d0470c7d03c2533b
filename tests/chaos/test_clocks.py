"""Machines that sleep."""

import signal

import pytest

from tests.chaos.experiment import STUCK_TIMEOUT, Experiment
from tests.processes import PATIENCE


@pytest.mark.patient
def test_a_machine_that_sleeps_longer_than_the_stuck_timeout_loses_nothing(experiment: Experiment) -> None:
    """All workers wake together, so none may take what another still holds: no fault is told."""
    with experiment.worker("w-1") as one, experiment.worker("w-2") as two:
        held = experiment.submit(8, "/hold")
        experiment.receiver.wait_for(len(held), PATIENCE)
        experiment.submit(100, spread=2 * STUCK_TIMEOUT)
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for worker in (one, two):
                worker.signal(number)
                worker.signal_workers(number)
            if number == signal.SIGSTOP:
                experiment.table.sql("SELECT pg_sleep(%(slept)s)", slept=1.5 * STUCK_TIMEOUT)
        experiment.expect_work()
        experiment.receiver.release()
        experiment.wait_until_ended()
        assert [one.stop(), two.stop()] == [0, 0]
    experiment.verify()
