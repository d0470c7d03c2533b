"""A database without room for its log of what it writes (WAL): it ends, and cannot start without any."""

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import psycopg
import pytest

from tests.chaos.experiment import Experiment
from tests.chaos.test_connections import AWAY, BACK
from tests.processes import PATIENCE
from tests.servers.postgres import Postgres
from tests.servers.small_disk import Disk, with_small_wal
from tests.tables import Table

MEBIBYTES = 128
RATE = 200  # tasks a second

SETTINGS = (
    # Or files would be used again, and the disk never be full.
    "ALTER SYSTEM SET wal_keep_size = '1GB'",
    "ALTER SYSTEM SET log_line_prefix = '%n '",
)
# A few bytes, and the rest of their 16 MiB is given up.
NEXT_SEGMENT = "SELECT pg_logical_emit_message(false, 'at-worker', 'x'), pg_switch_wal()"
PANIC = re.compile(r"^(\d+\.\d+) PANIC: .*No space left on device", re.MULTILINE)
ENDED = "database system is shut down"


@pytest.fixture
def disk(server: Postgres, tmp_path: Path) -> Iterator[Disk]:
    """The disk of the WAL."""
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        for statement in SETTINGS:
            connection.execute(statement.encode())
    server.stop()
    with with_small_wal(server, tmp_path / "wal", MEBIBYTES) as disk:
        yield disk


@pytest.fixture
def dsn(server: Postgres, disk: Disk) -> str:
    """The address of the table of this module's experiments, once it runs there."""
    del disk
    return server.dsn


def exhaust(server: Postgres) -> None:
    """Begin one segment after the other, until the server has ended and could not start again."""
    log = server.cluster.log
    until, ends = time.monotonic() + PATIENCE, log.read_text().count(ENDED)
    while log.read_text().count(ENDED) < ends + 2:
        assert time.monotonic() < until, log.read_text()
        with suppress(psycopg.OperationalError), closing(Table(server.dsn)) as person:
            person.sql(NEXT_SEGMENT)


@pytest.mark.mounts
def test_when_there_is_room_for_the_wal_again_all_goes_on(
    experiment: Experiment, disk: Disk, server: Postgres
) -> None:
    with ExitStack() as stack:
        worker = stack.enter_context(experiment.worker("w-1"))
        held = experiment.submit(4, "/hold")
        experiment.receiver.wait_for(len(held), PATIENCE)
        experiment.submit(RATE, spread=1.0)
        experiment.table.close()
        disk.fill()
        exhaust(server)
        worker.wait_for_line(AWAY)
        experiment.receiver.release()
        disk.make_room()
        worker.wait_for_line(BACK, 2)
        experiment.table = stack.enter_context(closing(Table(server.dsn)))
        experiment.expect_work()
        experiment.wait_until_ended()
        assert worker.stop() == 0
        crashes = PANIC.findall(server.cluster.log.read_text())
        assert crashes
        experiment.faults.crashes += map(float, crashes)
        experiment.verify()
