"""Workers that are asked to end: under load, during their start, once or twice, in the grace or beyond it."""

import signal
import time
from contextlib import ExitStack
from math import ceil

import pytest

from at_worker.store import admin
from tests.chaos.experiment import Experiment
from tests.processes import Worker

RESTARTS = 2
RATE = 200.0  # tasks a second
# Seconds from the signal to the end of a worker whose tasks take milliseconds.
PROMPT = 2.0
INTERRUPTED = "interrupted by the shutdown of its worker, may have run"


def ask_to_end(experiment: Experiment, process: Worker) -> None:
    process.wait_for_line("Successfully connected to database")
    asked = time.monotonic()
    process.signal(experiment.random.choice([signal.SIGTERM, signal.SIGINT]))
    assert process.wait() == 0
    took = time.monotonic() - asked
    experiment.figure("from the signal to the end of a worker, s", took)
    assert took < PROMPT
    assert "WARNING" not in process.log


def end_while_it_starts(experiment: Experiment, name: str) -> None:
    """The signal comes before its first line, where perhaps nobody listens yet, or after one of the first."""
    with experiment.worker(name) as starting:
        if lines := experiment.random.randint(0, 3):
            starting.wait_for_line(" ", lines)
        starting.signal(signal.SIGTERM)
        assert starting.wait() in (0, -signal.SIGTERM)
        assert "Traceback" not in starting.log


def test_rolling_restarts_under_load_cost_no_attempt_and_deliver_nothing_twice(
    experiment: Experiment,
) -> None:
    restarts = ceil(RESTARTS * experiment.size)
    count = 300 * restarts
    with ExitStack() as stack:
        fleet = [stack.enter_context(experiment.worker(f"w-{number}")) for number in (1, 2)]
        experiment.submit(count, spread=count / RATE)
        for number in range(restarts):
            experiment.receiver.wait_for(count * (number + 1) // (restarts + 2), seconds=30)
            old = fleet.pop(0)
            fleet.append(stack.enter_context(experiment.worker(f"w-{number + 3}")))
            ask_to_end(experiment, old)
            end_while_it_starts(experiment, "brief")
            # Whoever deploys applies the schema, again and again.
            experiment.table.sql(admin.ddl())
        experiment.wait_until_ended()
        for process in fleet:
            ask_to_end(experiment, process)
    experiment.figure("rolling restarts", restarts)
    experiment.verify()
    assert experiment.receiver.attempts().keys() == set(range(1, count + 1))
    assert set(experiment.receiver.attempts().values()) == {1}


@pytest.mark.patient
def test_what_outlasts_the_grace_is_told_and_done_again_by_the_next_worker(experiment: Experiment) -> None:
    slow = experiment.submit(4, "/turns")
    with experiment.worker("hasty", WORKER_SHUTDOWN_TIMEOUT="0.3") as hasty:
        experiment.receiver.wait_for(4)
        experiment.submit(200, spread=2.0)
        experiment.receiver.wait_for(50)
        experiment.hurt(hasty, "its grace ended")
        assert hasty.stop() == 0
    for row in map(experiment.table.row, slow):
        assert (row["status"], row["attempts"], row["error_message"]) == ("pending", 1, INTERRUPTED)
    experiment.receiver.answer(2)
    with experiment.worker("next") as following:
        experiment.wait_until_ended()
        assert following.stop() == 0
    experiment.receiver.answer(1)
    experiment.verify()
