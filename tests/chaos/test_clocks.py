"""Clocks of workers that are wrong and jump, and machines that sleep.

None of it is told to `faults`: the database's clock alone decides, and only intervals of a worker's own.
"""

import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.chaos.experiment import STUCK_TIMEOUT, Experiment
from tests.processes import PATIENCE, Worker
from tests.servers.faketime import Clock

HOUR = 3600.0
RATE = 100  # tasks a second
EXECUTE_AT = "SELECT id, extract(epoch FROM execute_at)::float8 AS at FROM scheduled_tasks"


def logged(worker: Worker) -> datetime:
    """The time of its last line."""
    return datetime.fromisoformat(worker.lines[-1].split()[0])


def test_workers_whose_clocks_are_hours_off_and_jump_are_as_punctual_as_others(
    experiment: Experiment, tmp_path: Path
) -> None:
    clock = Clock(tmp_path / "clock")
    clock.set(2 * HOUR)
    with experiment.worker("jumps", **clock.environment) as jumps, experiment.worker("right") as right:
        jumps.wait_for_line("Successfully connected")
        assert logged(jumps) - datetime.now(UTC) > timedelta(seconds=1.9 * HOUR)
        for offset in (-2 * HOUR, 48 * HOUR, 0.0)[: 1 + int(experiment.size)]:
            arrived = len(experiment.receiver.arrivals)
            experiment.submit(RATE, spread=1.0)
            experiment.receiver.wait_for(arrived + RATE // 2, PATIENCE)
            clock.set(offset)
        experiment.expect_work()
        experiment.wait_until_ended()
        assert [jumps.stop(), right.stop()] == [0, 0]
    experiment.verify()
    due = {row["id"]: row["at"] for row in experiment.table.sql(EXECUTE_AT)}
    assert all(delivery.start >= due[delivery.task] for delivery in experiment.receiver.ledger.deliveries())


@pytest.mark.patient
def test_a_machine_that_sleeps_longer_than_the_stuck_timeout_loses_nothing(experiment: Experiment) -> None:
    """All workers wake together, so none may take what another still holds."""
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
