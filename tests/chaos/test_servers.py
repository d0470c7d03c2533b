"""Servers that go and come back, or leave their place to another.

No attempt may end, and no task change hands, because of it. A crash may cost a second run of what had just
been claimed.
"""

from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.chaos.experiment import Experiment
from tests.processes import PATIENCE
from tests.servers.postgres import Postgres
from tests.tables import Table

RESTARTS = 2
RATE = 200  # tasks a second


@pytest.fixture
def dsn(server: Postgres) -> str:
    """The address of the table of this module's experiments."""
    return server.dsn


def test_restarts_under_load_cost_nothing(experiment: Experiment, server: Postgres) -> None:
    restarts = int(RESTARTS * experiment.size)
    with ExitStack() as stack:
        workers = [stack.enter_context(experiment.worker(f"w-{n}")) for n in (1, 2)]
        for n in range(restarts):
            experiment.submit(RATE, spread=1.0)
            experiment.receiver.wait_for(len(experiment.receiver.arrivals) + RATE // 4, PATIENCE)
            experiment.table.close()
            if n % 2 == 0:
                experiment.faults.database_crashes()
            server.stop(("immediate", "fast")[n % 2])
            server.start()
            experiment.table = stack.enter_context(closing(Table(server.dsn)))
            experiment.expect_work()
        experiment.wait_until_ended()
        assert [worker.stop() for worker in workers] == [0, 0]
        experiment.verify()


def test_a_standby_takes_over(experiment: Experiment, server: Postgres, tmp_path: Path) -> None:
    """A synchronous one, which has all that was confirmed; afterwards the old primary is a dead address."""
    standby = server.standby(tmp_path / "standby")
    with ExitStack() as stack:
        standby.start()
        stack.callback(standby.stop, "immediate")
        experiment.table.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        experiment.table.sql("SELECT pg_reload_conf()")
        experiment.table.wait_for(
            lambda: experiment.table.sql("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'")
        )
        both = server.dsn.replace(f":{server.port}", f":{server.port},127.0.0.1:{standby.port}")
        worker = stack.enter_context(experiment.worker("w-1", dsn=both))
        experiment.submit(RATE, spread=1.0)
        experiment.receiver.wait_for(RATE // 4, PATIENCE)
        experiment.table.close()
        experiment.faults.database_crashes()
        server.stop("immediate")
        standby.promote()
        experiment.table = stack.enter_context(closing(Table(standby.dsn)))
        experiment.table.sql("ALTER SYSTEM RESET synchronous_standby_names")
        experiment.table.sql("SELECT pg_reload_conf()")
        experiment.expect_work()
        experiment.wait_until_ended()
        assert worker.stop() == 0
        experiment.verify()
