"""A database that is away, that is full, or that ends the sessions of its workers.

None of it is told to `faults`, unless it lasts longer than the stuck timeout of a worker on the other side.
"""

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql

from tests.chaos.experiment import KILL_SESSIONS, Experiment
from tests.processes import PATIENCE, Worker
from tests.servers.tcp_proxy import database_proxy
from tests.tables import Table

AWAY = "Failed to connect to database: "
BACK = "Successfully connected to database"
REMIND = 30.0
KILLS = 10
BETWEEN = 10  # arrivals between two kills
HANDFUL = 6
# One to listen, one that all else shares.
LEAST = 2
MOST_TOLD = 5

SESSIONS = """
SELECT pid, xact_start FROM pg_stat_activity
 WHERE datname = current_database() AND application_name LIKE 'at-worker%'
"""
# On the connection that is there, since new ones cannot even undo it.
READ_ONLY = """
DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database());
END $$
"""


def test_killed_sessions_cost_nothing(experiment: Experiment) -> None:
    kills, killed = int(KILLS * experiment.size), 0
    with ExitStack() as stack:
        workers = [stack.enter_context(experiment.worker(f"w-{n}")) for n in (1, 2)]
        for worker in workers:
            worker.wait_for_line(BACK)
        for _ in range(kills):
            experiment.submit(2 * BETWEEN, spread=0.1)
            experiment.receiver.wait_for(len(experiment.receiver.arrivals) + BETWEEN, PATIENCE)
            killed += len(experiment.table.sql(KILL_SESSIONS))
        experiment.figure("killed sessions", killed)
        experiment.expect_work()
        experiment.wait_until_ended()
        assert [worker.stop() for worker in workers] == [0, 0]
    experiment.verify()


def test_while_the_database_is_away_nothing_starts_and_results_are_kept(experiment: Experiment) -> None:
    reminders = int(experiment.size // 5)
    with database_proxy(experiment.table.dsn) as (proxy, dsn), experiment.worker("w-1", dsn=dsn) as worker:
        held = experiment.submit(4, "/hold")
        experiment.receiver.wait_for(4, PATIENCE)
        proxy.stop()
        experiment.submit(20)
        worker.wait_for_line(AWAY)
        experiment.receiver.release()
        for n in range(reminders):
            _wait_for_reminder(worker, 2 + n)
        assert len(experiment.receiver.arrivals) == len(held)
        assert worker.count(AWAY) == 1 + reminders
        proxy.start()
        experiment.expect_work()
        experiment.wait_until_ended()
        assert (worker.count(AWAY), worker.count(BACK)) == (1 + reminders, 2)
        assert worker.stop() == 0
    experiment.verify()


def _wait_for_reminder(worker: Worker, times: int) -> None:
    until = time.monotonic() + REMIND + PATIENCE
    while worker.count(AWAY) < times:
        assert time.monotonic() < until, "nothing reminds of the outage"
        time.sleep(0.1)


def test_connections_that_go_half_open_cost_nothing(experiment: Experiment) -> None:
    with database_proxy(experiment.table.dsn) as (proxy, dsn), experiment.worker("w-1", dsn=dsn) as worker:
        for _ in range(max(1, int(experiment.size))):
            experiment.submit(100, spread=0.5)
            experiment.receiver.wait_for(len(experiment.receiver.arrivals) + 20, PATIENCE)
            proxy.half_open()
            experiment.expect_work()
        experiment.wait_until_ended()
        assert worker.stop() == 0
    experiment.verify()


def test_while_tasks_run_no_transaction_is_open_and_connections_are_few(experiment: Experiment) -> None:
    settings = {"WORKER_CONCURRENCY": "64", "WORKER_BATCH_SIZE": "64"}
    with experiment.worker("w-1", **settings) as worker:
        held, *_ = experiment.submit(32, "/hold")
        experiment.receiver.wait_for(32, PATIENCE)
        looks = []
        for _ in range(2):
            beaten = experiment.table.row(held)["updated_at"]
            sessions = experiment.table.sql(SESSIONS)
            assert 0 < len(sessions) <= HANDFUL
            looks.append({(session["pid"], session["xact_start"]) for session in sessions})
            experiment.table.wait_for_row(held, lambda row: row["updated_at"] > beaten)  # noqa: B023 - at once
        # From one heartbeat to the next.
        assert not [start for _, start in looks[0] & looks[1] if start is not None]
        experiment.receiver.release()
        experiment.wait_until_ended()
        assert worker.stop() == 0
    experiment.verify()


# As sql/roles.sql gives them to workers.
GRANTS: Sequence[LiteralString] = (
    "SELECT, UPDATE, DELETE ON scheduled_tasks",
    "SELECT ON scheduled_tasks_paused",
    "SELECT, INSERT ON scheduled_tasks_attempts",
    "SELECT, INSERT, UPDATE, DELETE ON scheduled_tasks_presence",
    "INSERT ON audit",
)


@dataclass(frozen=True, slots=True)
class Role:
    """A role that a worker needs no more than, and whose number of connections can be limited."""

    name: str
    dsn: str
    table: Table

    def limit(self, connections: int) -> None:
        self.table.run(
            sql.SQL("ALTER ROLE {} CONNECTION LIMIT {}").format(
                sql.Identifier(self.name), sql.Literal(connections)
            )
        )


@pytest.fixture
def role(experiment: Experiment) -> Iterator[Role]:
    name, password = f"at_chaos_{secrets.token_hex(4)}", secrets.token_hex(8)
    table = experiment.table
    identifier = sql.Identifier(name)
    table.run(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(identifier, sql.Literal(password)))
    for grant in GRANTS:
        table.run(sql.SQL("GRANT {} TO {}").format(sql.SQL(grant), identifier))
    yield Role(name, f"postgresql://{name}:{password}@{table.dsn.rpartition('@')[2]}", table)
    table.run(sql.SQL("DROP OWNED BY {}").format(identifier))
    table.run(sql.SQL("DROP ROLE {}").format(identifier))


@pytest.mark.patient
@pytest.mark.parametrize("limit", [0, LEAST])
def test_a_limit_of_connections_slows_down_and_loses_nothing(
    limit: int, experiment: Experiment, role: Role
) -> None:
    with experiment.worker("w-1", dsn=role.dsn) as worker:
        worker.wait_for_line(BACK)
        experiment.submit(10)
        experiment.wait_until_ended()
        role.limit(limit)
        experiment.table.sql(KILL_SESSIONS)
        experiment.submit(200, spread=2.0)
        worker.wait_for_line(AWAY)
        if limit:
            experiment.wait_until_ended()
        role.limit(-1)
        experiment.expect_work()
        experiment.wait_until_ended()
        assert worker.stop() == 0
    assert max(worker.count(AWAY), worker.count(BACK)) < MOST_TOLD
    experiment.verify()


def test_a_server_that_lets_in_no_more_is_waited_for(experiment: Experiment) -> None:
    """Its own limit: people take every connection, also those kept for a superuser."""
    with experiment.worker("w-1") as worker, ExitStack() as people:
        worker.wait_for_line(BACK)
        held = experiment.submit(4, "/hold")
        experiment.receiver.wait_for(len(held), PATIENCE)
        experiment.submit(200, spread=1.0)
        while not worker.count(AWAY):
            experiment.table.sql(KILL_SESSIONS)
            _take_all(experiment.table.dsn, people)
        experiment.receiver.release()
        people.close()
        experiment.expect_work()
        experiment.wait_until_ended()
        assert worker.stop() == 0
    assert max(worker.count(AWAY), worker.count(BACK)) < MOST_TOLD
    experiment.verify()


def _take_all(dsn: str, people: ExitStack) -> None:
    with suppress(psycopg.OperationalError):
        while True:
            people.enter_context(closing(psycopg.connect(dsn)))


def test_a_database_that_becomes_read_only_is_waited_for(experiment: Experiment) -> None:
    with experiment.worker("w-1") as worker:
        experiment.submit(4, "/hold")
        experiment.receiver.wait_for(4, PATIENCE)
        experiment.table.sql(READ_ONLY)
        experiment.table.sql(KILL_SESSIONS)
        experiment.table.sql("SET default_transaction_read_only = off")
        experiment.submit(20)
        worker.wait_for_line("session is read-only")
        experiment.receiver.release()
        experiment.table.sql(READ_ONLY.replace("= on", "= off"))
        experiment.expect_work()
        experiment.wait_until_ended()
        assert worker.stop() == 0
    experiment.verify()
