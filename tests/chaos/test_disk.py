"""A database whose disk is full."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.chaos.experiment import Experiment
from tests.processes import PATIENCE
from tests.servers.postgres import Postgres
from tests.servers.small_disk import on_small_disk
from tests.tables import Table

MEBIBYTES = 64
RATE = 200  # tasks a second
# The loops that write, and the files that cannot grow.
MOST_TOLD = 15

FILL = "COPY (SELECT repeat('x', 65536) FROM generate_series(1, 10000)) TO {}"
EMPTY = "COPY (SELECT) TO {}"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return tmp_path / "disk"


@pytest.fixture
def dsn(server: Postgres, disk: Path) -> Iterator[str]:
    """The address of the table of this module's experiments, on the small disk."""
    server.stop()
    with on_small_disk(server, disk, MEBIBYTES):
        yield server.dsn


@pytest.mark.mounts
def test_while_the_disk_is_full_results_are_kept_and_nothing_is_lost(
    experiment: Experiment, disk: Path
) -> None:
    with experiment.worker("w-1") as worker, closing(Table(experiment.table.dsn)) as person:
        held = experiment.submit(4, "/hold")
        experiment.receiver.wait_for(len(held), PATIENCE)
        experiment.submit(RATE, spread=1.0)
        ballast = sql.Literal(str(disk / "ballast"))
        with pytest.raises(psycopg.errors.DiskFull):
            person.run(sql.SQL(FILL).format(ballast))
        worker.wait_for_line("No space left on device")
        experiment.receiver.release()
        person.run(sql.SQL(EMPTY).format(ballast))
        experiment.expect_work()
        experiment.wait_until_ended()
        assert worker.stop() == 0
    assert "Failed to connect to database" not in worker.log
    assert worker.count("No space left on device") < MOST_TOLD
    experiment.verify()
