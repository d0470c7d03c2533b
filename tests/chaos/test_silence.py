"""Workers that fall silent: frozen, or gone with their machine. Only the stuck timeout tells."""

import signal
import time
from contextlib import ExitStack
from math import ceil

import pytest

from tests.chaos.experiment import STUCK_TIMEOUT, Experiment
from tests.processes import Worker

# Seconds beyond the stuck timeout until everything of a dead machine is in other hands.
CATCHING_UP = 5.0

HELD = "SELECT FROM scheduled_tasks WHERE status = 'processing' AND locked_by LIKE ANY (%(names)s::text[])"
GONE = ["frozen.%", "dead/%", "hasty/%"]
UNSTARTED = """
SELECT FROM scheduled_tasks WHERE id = %(id)s AND status = 'processing' AND execute_at > clock_timestamp()
"""


def freeze_before_the_start(experiment: Experiment, process: Worker, freezing: ExitStack) -> int:
    """Freeze a worker that holds a claim whose instant is yet to come; returns the id of the task."""
    while True:
        (task,) = experiment.submit(1, spread=0.5)
        experiment.table.wait_for_row(task, lambda row: row["status"] != "pending")
        with ExitStack() as frozen:
            frozen.enter_context(experiment.frozen(process))
            if experiment.table.sql(UNSTARTED, id=task):
                freezing.push(frozen.pop_all())
                return task


def signal_twice(experiment: Experiment, process: Worker) -> None:
    experiment.hurt(process, "signalled twice")
    process.signal(signal.SIGTERM)
    process.wait_for_line("initiating graceful shutdown...")
    process.signal(signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGTERM


def test_a_worker_that_wakes_up_late_changes_nothing_and_starts_nothing(experiment: Experiment) -> None:
    """Neither does one whose machine is gone, while another waits for both."""
    receiver, table = experiment.receiver, experiment.table
    orphaned = experiment.submit(3, "/turns")
    with experiment.worker("dead") as dead:
        receiver.wait_for(3)
        experiment.crash(dead)
    answered = experiment.submit(3, "/turns")
    running = experiment.submit(3, "/hold")
    with experiment.worker("frozen") as frozen, ExitStack() as freezing:
        receiver.wait_for(9)
        unstarted = freeze_before_the_start(experiment, frozen, freezing)
        tasks = [*orphaned, *answered, *running, unstarted]
        receiver.answer(1)
        with experiment.worker("heir") as heir:
            for task in tasks:
                table.wait_for_row(task, lambda row: row["claim_seq"] == 2)
            freezing.close()
            for task in answered:
                frozen.wait_for_line(f"Task {task} was changed")
            receiver.answer(2)
            receiver.release()
            for task in running:
                frozen.wait_for_line(f"Task {task} was changed")
            experiment.wait_until_ended()
            assert [frozen.stop(), heir.stop()] == [0, 0]
    experiment.verify()
    attempts = receiver.attempts()
    assert [attempts[task] for task in tasks] == [2] * 9 + [1]
    for row in map(table.row, tasks):
        assert (row["attempts"], row["claim_seq"]) == (2, 2)
        assert row["locked_by"].startswith("heir/")


@pytest.mark.patient
def test_what_frozen_and_dead_machines_held_is_done_by_others(experiment: Experiment) -> None:
    with experiment.worker("heir"), experiment.worker("frozen", "--processes", "4") as frozen:
        for _ in range(ceil(experiment.size)):
            with experiment.worker("dead") as dead, experiment.worker("hasty") as hasty:
                dead.wait_for_line("Successfully connected")
                hasty.wait_for_line("Successfully connected")
                arrived = len(experiment.receiver.arrivals)
                experiment.submit(600, spread=3.0)
                experiment.receiver.wait_for(arrived + experiment.random.randint(50, 500))
                with experiment.frozen(frozen):
                    experiment.crash(dead)
                    signal_twice(experiment, hasty)
                    died = time.monotonic()
                    experiment.table.wait_for(lambda: not experiment.table.sql(HELD, names=GONE))
                    took = time.monotonic() - died
                    experiment.figure("from the death of a machine to other hands, s", took)
                    assert took < STUCK_TIMEOUT + CATCHING_UP
        experiment.wait_until_ended()
    experiment.verify()
