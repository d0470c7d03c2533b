"""A PostgreSQL that is as durable as it comes and that crashes while workers claim.

Claims are committed asynchronously: a crash forgets the last ones, and their rows are pending again.
"""

import os
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from at_worker import embedded
from at_worker.embedded.cluster import Cluster, find_binaries, postmaster
from at_worker.store import admin
from tests.chaos.ledger import RecordingEndpoint
from tests.processes import PATIENCE, worker
from tests.tables import Table

ROUNDS = 2
RATE = 300  # tasks a second, of which each fourth is to run at most once
BURST = 20
# A crash forgets the claims of its last 0.6 s; what they brought starts within a second and a quarter.
UNSAVED, UNAWARE = 0.6, 1.25

INSERT = """
INSERT INTO scheduled_tasks (task_type, payload, max_attempts, execute_at)
SELECT 'http_callback', jsonb_build_object('url', %(url)s::text), %(max_attempts)s,
       now() + n * %(spread)s / %(count)s * interval '1 s'
  FROM generate_series(1, %(count)s) n
RETURNING id
"""
STATES = "SELECT id, status, claim_seq, attempts FROM scheduled_tasks"
LEFT = "SELECT count(*) AS count FROM scheduled_tasks WHERE status IN ('pending', 'processing')"
ATTEMPTS = "SELECT * FROM scheduled_tasks_attempts"
RELOAD = "SELECT pg_reload_conf()"


class Crashing:
    """An embedded PostgreSQL that crashes, and comes back at its address."""

    def __init__(self, directory: Path) -> None:
        self._cluster = Cluster(directory, find_binaries())
        self._life = ExitStack()
        self.dsn = self._start()

    def crash(self, nth: int) -> float:
        """Crash in either way; returns when, in seconds since the epoch."""
        now = time.time()
        (self.kill, self.stop_immediately)[nth % 2]()
        return now

    def kill(self) -> None:
        """SIGKILL to the server and all that it started, as if the machine was gone, but for its disk."""
        (pid, _) = postmaster(self._cluster) or (0, "")
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in (pid, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)

    def stop_immediately(self) -> None:
        """As `pg_ctl stop --mode=immediate`."""
        (pid, _) = postmaster(self._cluster) or (0, "")
        os.kill(pid, signal.SIGQUIT)

    def start(self) -> Table:
        """Start it again, once it is gone, and open its table."""
        self._life.close()
        assert self._start() == self.dsn
        return Table(self.dsn)

    def end(self) -> None:
        self._life.close()

    def _start(self) -> str:
        return self._life.enter_context(embedded.serve(self._cluster.directory))


@pytest.fixture(scope="module")
def crashing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crashing]:
    server = Crashing(tmp_path_factory.mktemp("postgres"))
    try:
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            connection.execute(admin.ddl().encode())
        yield server
    finally:
        server.end()


def _submit(table: Table, count: int, url: str, *, max_attempts: int = 5, spread: float = 0.0) -> set[int]:
    found = table.sql(INSERT, url=url, count=count, max_attempts=max_attempts, spread=spread)
    return {row["id"] for row in found}


def _states(table: Table, tasks: set[int]) -> set[tuple[str, int, int]]:
    """Status, claim_seq and attempts that are found among these tasks."""
    return {
        (row["status"], row["claim_seq"], row["attempts"]) for row in table.sql(STATES) if row["id"] in tasks
    }


@pytest.mark.parametrize(
    ("max_attempts", "after_the_crash"), [(5, ("pending", 0, 0)), (1, ("processing", 1, 0))]
)
def test_what_runs_in_a_crash_goes_on_and_only_claims_that_may_be_repeated_are_forgotten(
    crashing: Crashing, tmp_path: Path, max_attempts: int, after_the_crash: tuple[str, int, int]
) -> None:
    with RecordingEndpoint() as receiver, worker(crashing.dsn, tmp_path) as process:
        with closing(Table(crashing.dsn)) as table:
            process.wait_for_line("Successfully connected to database")
            # So that the worker alone decides what is on the disk at the crash.
            table.sql("ALTER SYSTEM SET wal_writer_delay = '10s'")
            table.sql(RELOAD)
            tasks = _submit(table, BURST, receiver.url + "/hold", max_attempts=max_attempts)
            receiver.wait_for(BURST, PATIENCE)
        process.signal_workers(signal.SIGSTOP)
        crashing.kill()
        with closing(crashing.start()) as table:
            table.sql("ALTER SYSTEM RESET wal_writer_delay")
            table.sql(RELOAD)
            assert _states(table, tasks) == {after_the_crash}
            process.signal_workers(signal.SIGCONT)
            table.wait_for(lambda: _states(table, tasks) == {("processing", 1, 0)})
            receiver.release()
            table.wait_for(lambda: _states(table, tasks) == {("completed", 1, 1)})
            assert table.sql(ATTEMPTS) == []
        assert process.stop() == 0
    assert receiver.attempts() == dict.fromkeys(tasks, 1)


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """How many crashes; every other one is a SIGKILL."""
    return int(ROUNDS * request.config.getoption("--chaos-size"))


def test_crashes_under_load_lose_nothing(crashing: Crashing, tmp_path: Path, rounds: int) -> None:
    with _workers(crashing, tmp_path):
        for n in range(rounds):
            with RecordingEndpoint() as receiver:
                with closing(Table(crashing.dsn)) as table:
                    others = _submit(table, RATE * 3 // 4, receiver.url, spread=1.0)
                    once = _submit(table, RATE // 4, receiver.url, max_attempts=1, spread=1.0)
                receiver.wait_for(RATE // 2, PATIENCE)
                crash = crashing.crash(n)
                _verify(crashing, receiver, once, others, crash)


def test_a_crash_in_the_moment_of_claims_repeats_at_most_those(
    crashing: Crashing, tmp_path: Path, rounds: int
) -> None:
    with _workers(crashing, tmp_path):
        for n in range(rounds):
            with RecordingEndpoint() as receiver:
                with closing(Table(crashing.dsn)) as table:
                    once = _submit(table, BURST, receiver.url + "/hold", max_attempts=1)
                    receiver.wait_for(BURST, PATIENCE)
                    others = _submit(table, BURST, receiver.url + "/hold")
                receiver.wait_for(BURST + 1, PATIENCE)
                crash = crashing.crash(n)
                receiver.release()
                _verify(crashing, receiver, once, others, crash)


@contextmanager
def _workers(crashing: Crashing, directory: Path) -> Iterator[None]:
    """Two, of whom either may claim what the other one runs."""
    with (
        worker(crashing.dsn, directory, WORKER_ID="w-1") as first,
        worker(crashing.dsn, directory, WORKER_ID="w-2") as second,
    ):
        yield
        assert [first.stop(), second.stop()] == [0, 0]


def _verify(
    crashing: Crashing, receiver: RecordingEndpoint, once: set[int], others: set[int], crash: float
) -> None:
    """Start the server again, let all come to its end, and look at what the receiver saw."""
    with closing(crashing.start()) as table:
        table.wait_for(lambda: not table.sql(LEFT)[0]["count"])
        ends = {(status, attempts) for status, _, attempts in _states(table, once | others)}
        assert ends == {("completed", 1)}
        assert table.sql(ATTEMPTS) == []
    starts: defaultdict[int, list[float]] = defaultdict(list)
    for delivery in receiver.ledger.deliveries():
        starts[delivery.task].append(delivery.start)
    assert starts.keys() == once | others
    for task, times in starts.items():
        assert len(times) <= (1 if task in once else 2)
        assert len(times) == 1 or crash - UNSAVED <= min(times) <= crash + UNAWARE
