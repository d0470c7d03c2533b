"""Servers that go and come back, leave their place to another, or have their clock set.

No attempt may end, and no task change hands, because of it. A crash may cost a second run of what had just
been claimed.
"""

import time
from contextlib import ExitStack, closing
from math import ceil
from pathlib import Path

import pytest

from tests.chaos.experiment import Experiment
from tests.processes import PATIENCE
from tests.servers.faketime import Clock
from tests.servers.postgres import Postgres
from tests.tables import Table

RESTARTS = 2
CLEANED = "[Cleaner] Restored "
RATE = 200  # tasks a second
HOUR = 3600.0
# The record needs a clock that stays right: that of the machine, in hundredths of a second, rounded up.
TRUE_TIME = """
CREATE FUNCTION true_time() RETURNS float8 LANGUAGE sql AS $$
    SELECT split_part(pg_read_file('/proc/uptime'), ' ', 1)::float8 + 0.01 + (SELECT started FROM machine)
$$;
ALTER TABLE audit ALTER COLUMN at SET DEFAULT true_time()
"""
NOW = "SELECT extract(epoch FROM clock_timestamp())::float8 AS now"


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
        experiment.figure("restarts of the database", restarts)
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


def test_a_database_whose_clock_is_set_back_and_forth_costs_nothing(
    experiment: Experiment, server: Postgres, tmp_path: Path
) -> None:
    clock = Clock(tmp_path / "clock")
    experiment.table.close()
    server.stop()
    server.start(clock.environment)
    with ExitStack() as stack:
        experiment.table = stack.enter_context(closing(Table(server.dsn)))
        keep_true_time(experiment.table)
        workers = [stack.enter_context(experiment.worker(f"w-{n}")) for n in (1, 2)]
        held = experiment.submit(8, "/hold")
        experiment.receiver.wait_for(len(held), PATIENCE)
        for offset in (-HOUR, HOUR) * ceil(experiment.size / 5):
            arrived = len(experiment.receiver.arrivals)
            experiment.submit(RATE, spread=1.0)
            experiment.receiver.wait_for(arrived + RATE // 4, PATIENCE)
            clock.set(offset)
            assert experiment.table.sql(NOW)[0]["now"] == pytest.approx(time.time() + offset, abs=60)
            experiment.expect_work()
            if experiment.size > 1:
                for worker in workers:
                    worker.wait_for_line(CLEANED, worker.count(CLEANED) + 2)
        experiment.receiver.release()
        experiment.wait_until_ended()
        assert [worker.stop() for worker in workers] == [0, 0]
        experiment.verify()


def keep_true_time(table: Table) -> None:
    started = time.time() - float(Path("/proc/uptime").read_text().split()[0])
    table.sql("CREATE TABLE machine AS SELECT %(started)s::float8 AS started", started=started)
    table.sql(TRUE_TIME)
