"""A worker whose loops are turned by hand."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from at_worker.engine.cleaner import CATCH_UP
from at_worker.engine.parts import Parts
from at_worker.jsontext import Json
from at_worker.outcome import Done, Outcome
from at_worker.plugin import AnyExecutor, Attempt
from at_worker.store.database import Database
from tests.tables import Table

PATIENCE = 10.0

Behaviour = Callable[[Json, Attempt], Outcome]


@dataclass
class Probe:
    """A plug-in that does what the test says and remembers its attempts."""

    behave: Behaviour = lambda _payload, _attempt: Done()
    attempts: deque[Attempt] = field(default_factory=deque)
    parsed: deque[float] = field(default_factory=deque)  # when, in monotonic seconds

    def parse(self, payload: Json) -> Json:
        self.parsed.append(time.monotonic())
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
        self.settings = table.settings(**{"WORKER_CONCURRENCY": "4", **variables})
        self.probe = Probe()
        self.gave_up: list[str] = []
        self.database = Database(self.settings)
        known = known or {"probe": self.probe, "other": self.probe}
        parts = Parts.of(self.settings, boot, self.database, known, self.gave_up.append)
        self.queue = parts.queue
        self.leases = parts.leases
        self.tally = parts.tally
        self.settler = parts.settler
        self.destinations = parts.destinations
        self.execution = parts.execution
        self.runner = parts.runner
        self.poller = parts.poller
        self.heartbeat = parts.heartbeat
        self.watchdog = parts.watchdog
        self.cleaner = parts.cleaner

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
