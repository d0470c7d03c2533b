"""The composition root: builds a worker from its settings; the nesting of the `with` is its life cycle."""

# Resolving a host name needs this codec; if it cannot be imported then, for want of memory, it stays unknown.
import encodings.idna  # noqa: F401 - the import is all
import gc
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from at_worker.config import LISTEN_OFF, Settings
from at_worker.engine.cleaner import Cleaner
from at_worker.engine.destinations import Destinations
from at_worker.engine.execution import Execution
from at_worker.engine.heartbeat import Heartbeat
from at_worker.engine.leases import Leases
from at_worker.engine.listener import Listener
from at_worker.engine.loop import Loop, running
from at_worker.engine.outage import Outage
from at_worker.engine.parent import Parent
from at_worker.engine.poller import Poller
from at_worker.engine.report import Report
from at_worker.engine.runner import Runner
from at_worker.engine.settler import PACE, Settler
from at_worker.engine.stop import EXIT_NO_THREADS, Stop, thread
from at_worker.engine.tally import Tally, plus
from at_worker.engine.watchdog import Watchdog
from at_worker.executors.registry import executors
from at_worker.outcome import Retry
from at_worker.store.database import Database
from at_worker.store.errors import Refused, Unavailable, Unusable
from at_worker.store.presence import SHOWN_EVERY, Presence
from at_worker.store.queue import Queue
from at_worker.store.recovery import Recovery

if TYPE_CHECKING:
    from at_worker.engine.tracing import Tracing

logger = logging.getLogger(__name__)

# Writing the last results is granted this much, even where the grace is used up.
LAST_WRITE = 1.5
FAREWELL = 0.5
# Beyond the grace, for a worker whose parent is gone.
LAST_CALL = 15.0
LONGEST_CLAIM = 10.0


def run(settings: Settings, boot_id: str, line: socket.socket) -> int:
    """Run a worker until its parent at the other end of `line`, or a signal, ends it.

    Returns the exit code. Threads that never return may be left over.
    """
    stop = Stop()
    with stop.installed(), Parent(line, stop, settings.shutdown_timeout + LAST_CALL) as parent:
        if not stop.wait(0):
            with worker(settings, boot_id, stop, parent):
                stop.wait()
                if stop.reason:  # of signals the parent tells
                    stop.tell()
    return stop.exit_code


@contextmanager
def worker(settings: Settings, boot_id: str, stop: Stop, parent: Parent) -> Iterator[None]:
    """A worker at work. What is entered last ends first: claims, then tasks, then what those need."""
    outage = Outage()
    database = Database(settings, outage.observe)
    queue = Queue(database, f"{settings.worker_id}/{boot_id}", settings.task_types, settings.polling_interval)
    recovery = Recovery(database, settings.stuck_timeout, settings.task_types)
    leases = Leases()

    with _tracing(settings, queue.holder) as tracing, executors(settings) as known:
        presence = Presence(
            queue.holder,
            settings.worker_id,
            known if settings.task_types is None else known.keys() & set(settings.task_types),
        )
        tally = Tally(known)
        settler = Settler(queue, leases, tally)
        destinations = Destinations(settings.concurrency, settings.destination_concurrency)
        execution = Execution(
            known,
            leases,
            settler,
            destinations,
            default_delays=settings.retry_delays,
            tracing=tracing,
        )
        carry_out = execution.carry_out if tracing is None else tracing.around(execution.carry_out)
        runner = Runner(settings.concurrency, settings.task_timeout, carry_out)
        heartbeat = Heartbeat(queue, leases, settings.heartbeat_interval)
        cleaner = Cleaner(
            recovery,
            tally,
            interval=settings.cleaner_interval,
            stuck_timeout=settings.stuck_timeout,
            retention=settings.retention,
            default_delays=settings.retry_delays,
        )
        watchdog = Watchdog(
            runner,
            execution,
            destinations,
            settings.task_timeout,
            lambda reason: stop.fail(EXIT_NO_THREADS, reason),
        )
        poller = Poller(
            queue,
            leases,
            runner,
            batch_size=settings.batch_size,
            interval=settings.polling_interval,
            worker_id=settings.worker_id,
        )
        settling = Loop("settler", settler.turn, stop.unusable, pace=PACE)
        polling = Loop("poller", poller.turn, stop.unusable)
        destinations.start = runner.start
        runner.waiting = lambda: destinations.waiting
        settler.wake = settling.wake
        settler.rescheduled = poller.due_in
        cleaner.restored = lambda: poller.due_in(0.0)
        poller.wake = polling.wake
        poller.claimed = tally.claimed
        runner.freed = poller.thread_freed
        parent.begin(
            lambda: Report(
                unready=_unready(outage, poller),
                counts=plus(tally.told(), {"outages": outage.count}),
                gauges={
                    "in_flight": leases.count,
                    "threads": settings.concurrency,
                    "database_up": bool(outage.up),
                    "destinations_postponed": destinations.broken,
                },
            )
        )
        _announce(settings)
        # A full collection would walk through all of this, for tens of milliseconds in which nothing starts.
        gc.collect()
        gc.freeze()
        with (
            _open(database),
            _leaving(presence, database),
            running(
                settling,
                Loop("heartbeat", heartbeat.turn, stop.unusable),
                Loop("cleaner", cleaner.turn, stop.unusable),
                Loop("watchdog", watchdog.turn, stop.unusable),
            ),
            _written(settler),
            runner,
            _grace(runner, destinations, execution, settings.shutdown_timeout),
            _listening(settings, database, poller, presence, stop),
            running(polling),
        ):
            yield


@contextmanager
def _tracing(settings: Settings, holder: str) -> Iterator["Tracing | None"]:
    """Traces where they are asked for and can be sent; no worker stops for the want of them."""
    telemetry = settings.telemetry
    if not telemetry.wanted:
        yield None
    elif why := telemetry.obstacle:
        logger.warning("Traces are not sent: %s", why)
        yield None
    else:
        try:
            from at_worker.engine.tracing import tracing  # noqa: PLC0415 - its library is an extra, and large
        except ImportError:
            logger.warning("Traces are not sent: they need pip install 'at-worker[otel]'")
            yield None
            return
        with tracing(telemetry.variables, holder) as begun:
            yield begun


@contextmanager
def _open(database: Database) -> Iterator[None]:
    database.open()
    try:
        yield
    finally:
        database.close()


@contextmanager
def _leaving(presence: Presence, database: Database) -> Iterator[None]:
    """At the end tell that the worker is no more; where the database is slow, its silence tells."""

    def leave() -> None:
        with suppress(Unavailable, Refused, Unusable), database.session() as session:
            presence.leave(session)

    try:
        yield
    finally:
        farewell = thread("farewell", leave)
        farewell.start()
        farewell.join(FAREWELL)


@contextmanager
def _listening(
    settings: Settings, database: Database, poller: Poller, presence: Presence, stop: Stop
) -> Iterator[None]:
    if settings.listen_dsn is None:
        # What the worker has to say anyway, that it is there, is the probe too.
        with _heard(Listener(database, poller.heard, presence.show), stop):
            yield
        return
    # The login of LISTEN_DSN may have no other right than to listen.
    with running(Loop("presence", lambda: _show(presence, database), stop.unusable)):
        if settings.listen_dsn == LISTEN_OFF:
            yield
            return
        direct = Database(replace(settings, database_url=settings.listen_dsn))
        with _heard(Listener(direct, poller.heard), stop):
            yield


@contextmanager
def _heard(listener: Listener, stop: Stop) -> Iterator[None]:
    with listener, running(Loop("listener", listener.turn, stop.unusable, listener.interrupt)):
        yield


def _show(presence: Presence, database: Database) -> float:
    with database.session() as session:
        presence.show(session)
    return SHOWN_EVERY


@contextmanager
def _written(settler: Settler) -> Iterator[None]:
    try:
        yield
    finally:
        settler.wait_until_written(time.monotonic() + LAST_WRITE)


@contextmanager
def _grace(runner: Runner, destinations: Destinations, execution: Execution, grace: float) -> Iterator[None]:
    """After claiming has ended: hand back what has not started, let the rest finish, or interrupt it."""
    try:
        yield
    finally:
        until = time.monotonic() + grace
        execution.stopping.set()
        for task in destinations.release() + runner.unstarted():
            execution.give_back(task)
        if not runner.wait_until_idle(until):
            interrupted = [
                running.task.id
                for running in runner.running()
                if execution.end(running, Retry("interrupted by the shutdown of its worker, may have run"))
            ]
            logger.warning("Interrupted after %g s of grace: tasks %s", grace, interrupted)


def _unready(outage: Outage, poller: Poller) -> str | None:
    """Ready means that claims work."""
    if not outage.up:
        return "the database does not answer"
    if poller.failure:
        return f"the last claim failed: {poller.failure}"
    since = poller.claiming_since
    if since is not None and time.monotonic() - since > LONGEST_CLAIM:
        return f"a claim has been waiting for the database for more than {LONGEST_CLAIM:g} s"
    return None


def _announce(settings: Settings) -> None:
    logger.info(
        "[Worker %s] Started with polling interval %gs, batch size %d, %d threads, task types: %s",
        settings.worker_id,
        settings.polling_interval,
        settings.batch_size,
        settings.concurrency,
        ", ".join(settings.task_types) if settings.task_types else "all",
    )
    logger.info(
        "[Cleaner] Started with interval %gs, stuck timeout %gs",
        settings.cleaner_interval,
        settings.stuck_timeout,
    )
