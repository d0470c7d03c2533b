"""What the database did and its worker does not know: replies that are lost, requests that come late."""

from collections.abc import Mapping

import pytest

from tests.chaos.experiment import STUCK_TIMEOUT, Experiment
from tests.processes import PATIENCE
from tests.servers.tcp_proxy import CLAIM, RESULT, database_proxy

TASKS = 300
LOSSES = 12


def _given_back(row: Mapping[str, object]) -> bool:
    return (row["status"], row["claim_seq"]) == ("pending", 1)


@pytest.mark.parametrize(
    "reset", [True, pytest.param(False, marks=pytest.mark.patient)], ids=["reset", "silent"]
)
def test_a_reply_to_a_commit_that_is_lost_costs_nothing(experiment: Experiment, reset: bool) -> None:
    """Neither a delivery nor an attempt, so no fault is told: what was claimed in vain is handed back."""
    losses = int((LOSSES if reset else 2) * experiment.size)
    with database_proxy(experiment.table.dsn) as (proxy, dsn), experiment.worker("w-1", dsn=dsn) as worker:
        worker.wait_for_line("Successfully connected")
        for n in range(losses):
            # First: a worker that hears of the tasks may have claimed them all before the proxy is asked.
            lost = proxy.lose_reply((CLAIM, RESULT)[n % 2], reset=reset)
            experiment.submit(TASKS // losses, spread=0.2)
            assert lost.happened.wait(PATIENCE)
        experiment.wait_until_ended()
        assert worker.stop() == 0
    assert "its result is thrown away" not in worker.log
    experiment.verify()


@pytest.mark.patient
def test_a_worker_behind_a_partition_loses_its_tasks_to_the_other_side(experiment: Experiment) -> None:
    with (
        database_proxy(experiment.table.dsn) as (proxy, dsn),
        experiment.worker("far", dsn=dsn, WORKER_CONCURRENCY="4") as far,
    ):
        held = experiment.submit(4, "/hold")
        experiment.receiver.wait_for(4)
        (boot_id,) = far.processes()
        with experiment.faults.lasting("partition", boot_id, patience=0.8 * STUCK_TIMEOUT):
            proxy.freeze()
            with experiment.worker("near") as near:
                experiment.submit(100)
                experiment.receiver.wait_for(4 + 100 + 4, PATIENCE)
                experiment.receiver.release()
                for task in held:
                    assert experiment.table.wait(task, "completed")["attempts"] == 2
                assert near.stop() == 0
            proxy.thaw()
        far.wait_for_line("its result is thrown away", 4)
        experiment.submit(100)
        experiment.wait_until_ended()
        assert far.stop() == 0
    experiment.verify()


def test_a_claim_that_arrives_after_its_worker_gave_it_up_is_handed_back(experiment: Experiment) -> None:
    """As after a stalled commit: the worker has long asked anew, and knows nothing of what it got."""
    with (
        database_proxy(experiment.table.dsn) as (proxy, dsn),
        experiment.worker("w-1", dsn=dsn, WORKER_CONCURRENCY="2") as worker,
    ):
        worker.wait_for_line("Successfully connected")
        (boot_id,) = worker.processes()
        late = proxy.hold_request(f"w-1/{boot_id}".encode())
        assert late.sent.wait(PATIENCE)
        experiment.submit(2, "/hold")
        experiment.receiver.wait_for(2, PATIENCE)
        unknown = experiment.submit(2)
        late.released.set()
        # It is handed back as fast as it may come: no look at the table is sure to see it.
        experiment.table.wait_for(lambda: all(map(_given_back, map(experiment.table.row, unknown))) or None)
        experiment.receiver.release()
        experiment.wait_until_ended()
        assert worker.stop() == 0
    experiment.verify()
