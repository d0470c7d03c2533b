"""Task types that take their worker with them."""

from pathlib import Path

import pytest

from tests.chaos import audit
from tests.chaos.claims import lives
from tests.chaos.experiment import Experiment
from tests.chaos.faults import Fault
from tests.entry_points import offering

ATTEMPTS = 2
MANY_ATTEMPTS = 100
AT_ONCE = 30  # all threads but those that are kept for other destinations


@pytest.fixture
def plugins(tmp_path: Path) -> str:
    """The PYTHONPATH of a worker that has the plug-ins."""
    return offering(
        tmp_path,
        kills="tests.chaos.plugins:KillsItsWorker",
        hangs="tests.chaos.plugins:NeverReturns",
        eats="tests.chaos.plugins:EatsAllMemory",
    )


def hit_whoever_held(experiment: Experiment, tasks: list[int]) -> None:
    """What a worker held together with one of these tasks, it may lose together with it."""
    of_all = lives(audit.changes(experiment.table))
    for claim in (claim for task in tasks for claim in of_all[task].claims):
        experiment.faults.add(Fault("had such a task", claim.since, boot_id=claim.boot_id))


def insert(experiment: Experiment, task_type: str, count: int) -> list[int]:
    delays = {"retry_delays": ["0.5 s"], "max_attempts": ATTEMPTS}
    return [experiment.table.insert(task_type, **delays) for _ in range(count)]


def test_a_task_that_kills_its_worker_ends_as_failed_and_its_neighbours_survive(
    experiment: Experiment, plugins: str
) -> None:
    experiment.submit(20, "/turns")
    with experiment.worker("w-1", "--processes", "2", PYTHONPATH=plugins) as worker:
        experiment.receiver.wait_for(20)
        killers = insert(experiment, "kills", 1)
        experiment.submit(200, spread=2.0)
        experiment.receiver.answer(2)
        worker.wait_for_line(f"[Cleaner] Marked task {killers[0]} as failed (lost: ")
        for attempt in (1, 3):
            experiment.receiver.answer(attempt)
        experiment.wait_until_ended()
        assert worker.stop() == 0
    hit_whoever_held(experiment, killers)
    experiment.verify(failing=killers)
    assert {experiment.table.row(task)["attempts"] for task in killers} == {ATTEMPTS}


@pytest.mark.patient
def test_tasks_that_never_return_cost_nobody_else_anything(experiment: Experiment, plugins: str) -> None:
    settings = {"WORKER_TASK_TIMEOUT": "0.5", "WORKER_CONCURRENCY": "4", "PYTHONPATH": plugins}
    with experiment.worker("w-1", **settings) as worker:
        hanging = insert(experiment, "hangs", 2)
        experiment.submit(200, spread=3.0)
        for task in hanging:
            experiment.table.wait(task, "failed")
        experiment.wait_until_ended()
        # Its threads have been written off.
        worker.wait_for_line("ended with exit code 4; another starts at once")
        assert worker.stop() == 0
    experiment.verify(failing=hanging)
    for row in map(experiment.table.row, hanging):
        assert row["attempts"] == ATTEMPTS
        assert row["error_message"].startswith("timed out after ")


def test_a_task_that_eats_all_memory_costs_no_thread_and_no_task(
    experiment: Experiment, plugins: str
) -> None:
    with experiment.worker("w-1", PYTHONPATH=plugins) as worker:
        with experiment.faults.lasting("no memory"):
            hungry = insert(experiment, "eats", 3)
            # On a busy machine it lasts for more than a few attempts of the others.
            experiment.insert("http_callback", {"url": experiment.receiver.url}, 300, 3.0, MANY_ATTEMPTS)
            for task in hungry:
                experiment.table.wait(task, "failed")
        experiment.wait_until_ended()
        arrived = len(experiment.receiver.arrivals)
        experiment.submit(AT_ONCE, "/hold")
        experiment.receiver.wait_for(arrived + AT_ONCE)
        experiment.receiver.release()
        experiment.wait_until_ended()
        assert worker.stop() == 0
    experiment.verify(failing=hungry)
    assert {experiment.table.row(task)["attempts"] for task in hungry} == {ATTEMPTS}
