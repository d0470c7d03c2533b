"""What a scenario works with: a table under audit, a receiver that keeps the ledger, workers, the verdict."""

import math
import os
import signal
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import LiteralString

from psycopg.types.json import Jsonb

from tests.chaos import audit
from tests.chaos.claims import lives
from tests.chaos.faults import Faults
from tests.chaos.ledger import RecordingEndpoint
from tests.chaos.verdict import Record, violations
from tests.processes import PATIENCE, Worker, worker
from tests.tables import Table

STUCK_TIMEOUT = 5.0  # seconds; the least that a worker accepts
# The last heartbeat before a freeze may be so old that a fifth of the timeout has passed already.
LOST_AFTER = 0.8 * STUCK_TIMEOUT
MOST_TOLD = 20
# Seconds after the end of a fault within which tasks run again.
AT_WORK = 10.0

INSERT = """
INSERT INTO scheduled_tasks (task_type, payload, retry_delays, max_attempts, execute_at)
SELECT %(task_type)s, %(payload)s || jsonb_build_object('data', n), '{0.1 s}', %(most)s,
       now() + n * %(spread)s / %(count)s * interval '1 s'
  FROM generate_series(1, %(count)s) n
RETURNING id
"""

KILL_SESSIONS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE datname = current_database() AND application_name LIKE 'at-worker%'
"""
STILL_LEFT = """
SELECT *, now() FROM scheduled_tasks WHERE status IN ('pending', 'processing') ORDER BY id LIMIT 3
"""
LEFT = "SELECT count(*) FROM scheduled_tasks WHERE status IN ('pending', 'processing')"
LEFT_OF = """
SELECT count(*) FROM scheduled_tasks WHERE status IN ('pending', 'processing') AND id = ANY (%(tasks)s)
"""


class Experiment:
    """One scenario. `size` multiplies what can be made longer; `random` is the only source of randomness."""

    def __init__(
        self, table: Table, receiver: RecordingEndpoint, directory: Path, random: Random, size: float
    ) -> None:
        audit.install(table)
        self.table = table
        self.figures: dict[str, float] = {}
        self.receiver = receiver
        self.faults = Faults()
        self.random = random
        self.size = size
        self._directory = directory

    def submit(self, count: int, path: str = "/", spread: float = 0.0) -> list[int]:
        """Insert callbacks, due now or over the next `spread` seconds; returns their ids."""
        return self.insert("http_callback", {"url": self.receiver.url + path}, count, spread)

    def insert(
        self,
        task_type: str,
        payload: Mapping[str, object],
        count: int,
        spread: float = 0.0,
        max_attempts: int = 5,
    ) -> list[int]:
        """The same for tasks of any type."""
        rows = self.table.sql(
            INSERT, task_type=task_type, payload=Jsonb(payload), count=count, spread=spread, most=max_attempts
        )
        return [row["id"] for row in rows]

    @contextmanager
    def worker(self, name: str, *options: str, dsn: str | None = None, **settings: str) -> Iterator[Worker]:
        """A worker with its parent; `dsn` may lead through a proxy. Killed at the end if it still runs."""
        settings = {
            "WORKER_STUCK_TIMEOUT": f"{STUCK_TIMEOUT:g}s",
            "WORKER_POLLING_INTERVAL": "0.5",
            "WORKER_ID": name,
            **settings,
        }
        with worker(dsn or self.table.dsn, self._directory, *options, **settings) as started:
            try:
                yield started
            except BaseException as error:
                error.add_note(f"The log of {name}:\n{started.log}")
                raise

    def kill_one(self, process: Worker) -> None:
        """SIGKILL to one of the worker processes, where any runs just now."""
        if running := sorted(process.processes().items()):
            boot_id, pid = self.random.choice(running)
            self.faults.happened("killed", boot_id)
            _send(pid, signal.SIGKILL)

    def hurt(self, process: Worker, what: str) -> None:
        """To be called just before what ends the worker processes, however it does."""
        for boot_id in process.processes():
            self.faults.happened(what, boot_id)

    def crash(self, process: Worker) -> None:
        """SIGKILL to the parent and all worker processes, as if the machine was gone."""
        self.hurt(process, "crashed")
        process.kill()

    @contextmanager
    def frozen(self, process: Worker) -> Iterator[None]:
        """The worker processes are stopped (SIGSTOP) during the block; their parent is not."""
        stopped = process.processes()
        with ExitStack() as faults:
            for boot_id, pid in stopped.items():
                faults.enter_context(self.faults.lasting("frozen", boot_id, LOST_AFTER))
                _send(pid, signal.SIGSTOP)
            try:
                yield
            finally:
                for pid in stopped.values():
                    _send(pid, signal.SIGCONT)

    def wait_until_ended(self, patience: float = PATIENCE) -> None:
        """Wait for the end of every task; fails where none has ended for so many seconds."""
        self._wait_until_ended(LEFT, patience)

    def wait_for_end_of(self, tasks: Sequence[int], patience: float = PATIENCE) -> None:
        """The same for some tasks."""
        self._wait_until_ended(LEFT_OF, patience, tasks=tasks)

    def expect_work(self) -> None:
        """To be called at the end of a fault: what becomes due now is done soon."""
        since = time.monotonic()
        (task,) = self.submit(1)
        self.table.wait(task, "completed")
        took = time.monotonic() - since
        self.figure("back at work after a fault, s", took)
        assert took < AT_WORK, f"the workers needed {took:.1f} s to be back at work"

    def figure(self, what: str, value: float) -> None:
        """Something measured, of which `make chaos` shows the largest value at its end."""
        self.figures[what] = max(value, self.figures.get(what, value))

    def verify(self, failing: Collection[int] = (), unrecorded: Collection[int] = ()) -> None:
        """Compare all records; `failing` are the ids of the tasks that were to end as failed.

        The `unrecorded` are left out: their receivers tell nothing.
        """
        apart = set(unrecorded)
        record = Record(
            [row for row in audit.rows(self.table) if row.task not in apart],
            [change for change in audit.changes(self.table) if change.task not in apart],
            self.receiver.ledger.deliveries(),
            list(self.faults),
            failing,
            self.faults.crashes,
        )
        self._measure(record)
        found = violations(record)
        told = "\n".join(found[:MOST_TOLD])
        assert not found, f"{len(found)} violations:\n{told}\nfaults: {list(self.faults)[:MOST_TOLD]}"

    def _measure(self, record: Record) -> None:
        self.figure("tasks", len(record.rows))
        self.figure("deliveries", len(record.deliveries))
        for what, times in Counter(fault.what for fault in self.faults).items():
            self.figure(f"told: {what}", times)
        deaths = {fault.boot_id: fault for fault in self.faults if fault.what in ("killed", "crashed")}
        for life in lives(record.changes).values():
            for lost, again in pairwise(life.claims):
                if lost.forced and lost.boot_id in deaths:
                    death = deaths[lost.boot_id]
                    told = f"until a task of one {death.what} was"
                    self.figure(f"{told} given back, s", lost.until - death.since)
                    self.figure(f"{told} claimed again, s", again.since - death.since)

    def _wait_until_ended(self, query: LiteralString, patience: float, **parameters: object) -> None:
        until, before = 0.0, math.inf
        while True:
            asked = time.monotonic()
            left = int(self.table.sql(query, **parameters)[0]["count"])
            if not left:
                break
            if left < before:
                until, before = time.monotonic() + patience, left
            assert time.monotonic() < until, f"{left} tasks do not end: {self.table.sql(STILL_LEFT)}"
            # However large the table is, the workers get most of the database.
            time.sleep(max(0.05, 5 * (time.monotonic() - asked)))


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
