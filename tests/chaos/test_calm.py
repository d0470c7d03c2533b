"""Nothing fails, for a long time."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.chaos.experiment import Experiment
from tests.entry_points import offering

TASKS = 10_000
MOST_SECONDS = 600.0  # without the end of a task: the first have to be inserted

ONCE = """
SELECT count(*) FROM scheduled_tasks WHERE (status, attempts, claim_seq) = ('completed', 1, 1)
"""


@pytest.mark.patient
def test_a_great_many_tasks_run_once_each(experiment: Experiment, tmp_path: Path) -> None:
    """Without the audit, which would take longer than the tasks: each tells for itself that it ran."""
    count = int(TASKS * experiment.size)
    account = tmp_path / "account"
    experiment.table.sql("DROP TABLE audit CASCADE")
    experiment.table.sql("DROP FUNCTION audit CASCADE")
    plugins = offering(tmp_path, account="tests.chaos.plugins:KeepsAccount")
    with ExitStack() as stack:
        workers = [stack.enter_context(experiment.worker(f"w-{n}", PYTHONPATH=plugins)) for n in range(4)]
        tasks = experiment.insert("account", {"file": str(account)}, count)
        experiment.wait_until_ended(MOST_SECONDS)
        assert [worker.stop() for worker in workers] == [0, 0, 0, 0]
    ran = [tuple(map(int, line.split())) for line in account.read_text().splitlines()]
    experiment.figure("tasks", count)
    experiment.figure("runs", len(ran))
    assert sorted(ran) == [(task, 1) for task in sorted(tasks)]
    assert experiment.table.sql(ONCE) == [{"count": count}]
