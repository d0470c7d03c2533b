"""A worker whose loops are turned by hand."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from at_worker.engine.cleaner import CATCH_UP, Cleaner
from at_worker.engine.destinations import Destinations
from at_worker.engine.execution import Execution
from at_worker.engine.heartbeat import Heartbeat
from at_worker.engine.leases import Leases
from at_worker.engine.poller import Poller
from at_worker.engine.runner import Runner
from at_worker.engine.settler import Settler
from at_worker.engine.tally import Tally
from at_worker.engine.watchdog import Watchdog
from at_worker.jsontext import Json
from at_worker.outcome import Done, Outcome
from at_worker.plugin import AnyExecutor, Attempt
from at_worker.store.database import Database
from at_worker.store.queue import Queue
from at_worker.store.recovery import Recovery
from tests.tables import Table

PATIENCE = 10.0

Behaviour = Callable[[Json, Attempt], Outcome]


@dataclass
class Probe:
    """A plug-in that does what the test says and remembers its attempts."""

    behave: Behaviour = lambda _payload, _attempt: Done()
    attempts: deque[Attempt] = field(default_factory=deque)

    def parse(self, payload: Json) -> Json:
        return payload

    def execute(self, payload: Json, attempt: Attempt) -> Outcome:
        self.attempts.append(attempt)
        return self.behave(payload, attempt)

    def close(self) -> None:
        pass


class Gate:
    """A behaviour that stays in its task until the test lets it go."""

    def __init__(self, outcome: Outcome | None = None) -> None:
        self._outcome = outcome or Done()
        self._entered = threading.Semaphore(0)
        self._open = threading.Event()

    def __call__(self, _payload: Json, _attempt: Attempt) -> Outcome:
        self._entered.release()
        assert self._open.wait(PATIENCE)
        return self._outcome

    def wait_until_entered(self, tasks: int = 1) -> None:
        for _ in range(tasks):
            assert self._entered.acquire(timeout=PATIENCE)

    def open(self) -> None:
        self._open.set()


class Bench:
    """The parts of one worker on a test's database."""

    def __init__(
        self,
        table: Table,
        boot: str = "boot-1",
        known: Mapping[str, AnyExecutor] | None = None,
        **variables: str,
    ) -> None:
        settings = table.settings(**{"WORKER_CONCURRENCY": "4", **variables})
        self.settings = settings
        self.probe = Probe()
        self.gave_up: list[str] = []
        self.database = Database(settings)
        self.queue = Queue(self.database, f"{settings.worker_id}/{boot}", settings.task_types)
        self.leases = Leases()
        known = known or {"probe": self.probe, "other": self.probe}
        self.tally = Tally(known)
        self.settler = Settler(self.queue, self.leases, self.tally)
        self.destinations = Destinations(settings.concurrency, settings.destination_concurrency)
        self.execution = Execution(
            known,
            self.leases,
            self.settler,
            self.destinations,
            default_delays=settings.retry_delays,
        )
        self.runner = Runner(settings.concurrency, settings.task_timeout, self.execution.carry_out)
        self.destinations.start = self.runner.start
        self.runner.waiting = lambda: self.destinations.waiting
        self.poller = Poller(
            self.queue,
            self.leases,
            self.runner,
            batch_size=settings.batch_size,
            interval=settings.polling_interval,
            worker_id=settings.worker_id,
        )
        self.poller.claimed = self.tally.claimed
        self.heartbeat = Heartbeat(self.queue, self.leases, settings.heartbeat_interval)
        self.watchdog = Watchdog(
            self.runner, self.execution, self.destinations, settings.task_timeout, self.gave_up.append
        )
        self.cleaner = Cleaner(
            Recovery(self.database, settings.stuck_timeout, settings.task_types),
            self.tally,
            interval=settings.cleaner_interval,
            stuck_timeout=settings.stuck_timeout,
            retention=settings.retention,
            default_delays=settings.retry_delays,
        )

    def clean(self) -> None:
        """Clean twice, so far apart that what is stuck is taken for lost."""
        now = time.monotonic()
        self.cleaner.look(now)
        self.cleaner.look(now + 2 * CATCH_UP)

    def poll(self) -> float:
        """Claim once, as after an announcement."""
        self.poller.heard([])
        return self.poller.turn()

    def wait(self) -> bool:
        """Wait until every thread is idle."""
        return self.runner.wait_until_idle(time.monotonic() + PATIENCE)

    def settle(self) -> None:
        """Wait until every thread is idle and write how their tasks ended."""
        assert self.wait()
        while self.settler.turn() == 0:
            pass

    def work(self) -> None:
        """Claim once, run what was claimed, and write how it ended."""
        self.poll()
        self.settle()


@contextmanager
def bench(
    table: Table, boot: str = "boot-1", known: Mapping[str, AnyExecutor] | None = None, **variables: str
) -> Iterator[Bench]:
    """A bench whose threads and connections end with the test; `known` are other executors than the probe."""
    made = Bench(table, boot, known, **variables)
    made.database.open()
    try:
        with made.runner:
            yield made
    finally:
        made.database.close()
