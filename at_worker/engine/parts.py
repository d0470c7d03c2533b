"""The parts of a worker, wired to each other; who turns them, and for how long, is told elsewhere."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from at_worker.config import Settings
from at_worker.engine.cleaner import Cleaner
from at_worker.engine.destinations import Destinations
from at_worker.engine.execution import Execution
from at_worker.engine.heartbeat import Heartbeat
from at_worker.engine.leases import Leases
from at_worker.engine.poller import Poller
from at_worker.engine.runner import Runner
from at_worker.engine.settler import Settler
from at_worker.engine.tally import Tally
from at_worker.engine.watchdog import Watchdog
from at_worker.plugin import AnyExecutor
from at_worker.store.database import Database
from at_worker.store.queue import Queue
from at_worker.store.recovery import Recovery

if TYPE_CHECKING:  # its library is an extra
    from at_worker.engine.tracing import Tracing


@dataclass(frozen=True, slots=True)
class Parts:
    """What one worker is made of, from the queue to the watchdog."""

    queue: Queue
    leases: Leases
    tally: Tally
    settler: Settler
    destinations: Destinations
    execution: Execution
    runner: Runner
    poller: Poller
    heartbeat: Heartbeat
    cleaner: Cleaner
    watchdog: Watchdog

    @classmethod
    def of(
        cls,
        settings: Settings,
        boot_id: str,
        database: Database,
        executors: Mapping[str, AnyExecutor],
        give_up: Callable[[str], None],
        tracing: "Tracing | None" = None,
    ) -> Self:
        """Make the parts; `give_up` hears why no thread can be trusted any more."""
        queue = Queue(
            database, f"{settings.worker_id}/{boot_id}", settings.task_types, settings.polling_interval
        )
        leases = Leases()
        tally = Tally(executors)
        settler = Settler(queue, leases, tally)
        destinations = Destinations(settings.concurrency, settings.destination_concurrency)
        execution = Execution(
            executors,
            leases,
            settler,
            destinations,
            default_delays=settings.retry_delays,
            tracing=tracing,
        )
        carry_out = execution.carry_out if tracing is None else tracing.around(execution.carry_out)
        runner = Runner(settings.concurrency, settings.task_timeout, carry_out)
        poller = Poller(
            queue,
            leases,
            runner,
            batch_size=settings.batch_size,
            interval=settings.polling_interval,
            worker_id=settings.worker_id,
        )
        cleaner = Cleaner(
            Recovery(database, settings.stuck_timeout, settings.task_types),
            tally,
            interval=settings.cleaner_interval,
            stuck_timeout=settings.stuck_timeout,
            retention=settings.retention,
            default_delays=settings.retry_delays,
        )
        destinations.start = runner.start
        execution.finished = runner.finish
        runner.prepare, runner.abandon = execution.prepare, execution.give_back
        runner.waiting = lambda: destinations.waiting
        runner.freed = settler.released = poller.room_freed
        settler.rescheduled = poller.given_back
        cleaner.restored = poller.restored
        poller.claimed = tally.claimed
        return cls(
            queue,
            leases,
            tally,
            settler,
            destinations,
            execution,
            runner,
            poller,
            Heartbeat(queue, leases, settings.heartbeat_interval),
            cleaner,
            Watchdog(runner, execution, destinations, settings.task_timeout, give_up),
        )
