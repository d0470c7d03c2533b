"""Workers behind a PgBouncer in transaction mode: each statement may meet another connection.

None of it is told to `faults`.
"""

import signal
from contextlib import ExitStack
from math import ceil
from pathlib import Path

import pytest

from tests.chaos.experiment import KILL_SESSIONS, Experiment
from tests.processes import PATIENCE, command
from tests.servers.pgbouncer import pgbouncer
from tests.store.test_applying import set_default

TASKS = 200
LISTENS = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'"


@pytest.mark.parametrize(
    ("prepared", "isolation"),
    [(0, "read committed"), pytest.param(50, "serializable", marks=pytest.mark.patient)],
)
def test_a_pooler_in_transaction_mode_that_restarts_costs_nothing(
    experiment: Experiment, tmp_path: Path, prepared: int, isolation: str
) -> None:
    """Also where the role's isolation, which a worker cannot set there, makes statements fail (40001)."""
    set_default(experiment.table.dsn, f"default_transaction_isolation = '{isolation}'")
    with ExitStack() as stack:
        pooler = stack.enter_context(pgbouncer(experiment.table.dsn, tmp_path, prepared))
        workers = [
            stack.enter_context(experiment.worker("direct", dsn=pooler.dsn, LISTEN_DSN=experiment.table.dsn)),
            stack.enter_context(experiment.worker("off", dsn=pooler.dsn, LISTEN_DSN="off")),
        ]
        for worker in workers:
            worker.wait_for_line("Successfully connected")
        for _ in range(ceil(experiment.size)):
            arrived = len(experiment.receiver.arrivals)
            experiment.submit(TASKS, spread=1.0)
            experiment.submit(TASKS // 10, "/fails/1", spread=1.0)
            experiment.receiver.wait_for(arrived + TASKS // 4, PATIENCE)
            experiment.table.sql(KILL_SESSIONS)
            experiment.receiver.wait_for(arrived + TASKS // 2, PATIENCE)
            pooler.stop(experiment.random.choice([signal.SIGKILL, signal.SIGINT]))
            pooler.start()
            experiment.expect_work()
        experiment.wait_until_ended()
        experiment.table.wait_for(lambda: len(experiment.table.sql(LISTENS)) == 1)
        assert [worker.stop() for worker in workers] == [0, 0]
        logs = "".join(worker.log for worker in workers)
    assert "Traceback" not in logs
    assert ("could not serialize access" in logs) == (isolation == "serializable")
    experiment.verify()


def test_a_pooler_that_lets_no_announcement_through_is_found_beforehand(
    experiment: Experiment, tmp_path: Path
) -> None:
    with pgbouncer(experiment.table.dsn, tmp_path, 0) as pooler:
        told = [
            command(tmp_path, "check", DATABASE_URL=pooler.dsn, **settings)
            for settings in ({}, {"LISTEN_DSN": experiment.table.dsn})
        ]
    assert [outcome.returncode for outcome in told] == [1, 0]
    assert "WRONG LISTEN: what is announced" in told[0].stdout
    assert "ok    LISTEN: announcements arrive" in told[1].stdout
