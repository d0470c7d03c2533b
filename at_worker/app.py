"""The composition root: builds a worker from its settings; the nesting of the `with` is its life cycle."""

# Resolving a host name needs this codec; if it cannot be imported then, for want of memory, it stays unknown.
import encodings.idna  # noqa: F401 - the import is all
import gc
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from at_worker.config import LISTEN_OFF, Settings
from at_worker.engine.listener import Listener
from at_worker.engine.loop import Loop, running
from at_worker.engine.outage import Outage
from at_worker.engine.parent import Parent
from at_worker.engine.parts import Parts
from at_worker.engine.poller import Poller
from at_worker.engine.report import Report
from at_worker.engine.settler import PACE, Settler
from at_worker.engine.stop import EXIT_NO_THREADS, Stop, thread
from at_worker.engine.tally import plus
from at_worker.engine.timers import exact_timers
from at_worker.executors.registry import executors
from at_worker.outcome import Retry
from at_worker.store.database import Database
from at_worker.store.errors import Refused, Unavailable, Unusable
from at_worker.store.presence import SHOWN_EVERY, Presence

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
    exact_timers()
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
    holder = f"{settings.worker_id}/{boot_id}"
    with _tracing(settings, holder) as tracing, executors(settings) as known:
        parts = Parts.of(
            settings,
            boot_id,
            database,
            known,
            lambda reason: stop.fail(EXIT_NO_THREADS, reason),
            tracing,
        )
        presence = Presence(
            holder,
            settings.worker_id,
            known if settings.task_types is None else known.keys() & set(settings.task_types),
            settings.concurrency,
        )
        settling = Loop("settler", parts.settler.turn, stop.unusable, pace=PACE)
        polling = Loop("poller", parts.poller.turn, stop.unusable)
        parts.settler.wake, parts.poller.plan.wake = settling.wake, polling.wake
        parent.begin(lambda: _report(settings, outage, parts))
        _announce(settings)
        # A full collection would walk through all of this, for tens of milliseconds in which nothing starts.
        gc.collect()
        gc.freeze()
        with (
            _open(database),
            _leaving(presence, database),
            running(
                settling,
                Loop("heartbeat", parts.heartbeat.turn, stop.unusable),
                Loop("cleaner", parts.cleaner.turn, stop.unusable),
                Loop("watchdog", parts.watchdog.turn, stop.unusable),
            ),
            _written(parts.settler),
            parts.runner,
            _grace(parts, settings.shutdown_timeout),
            _listening(settings, database, parts.poller, presence, stop),
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
        with _heard(Listener(Database.to_listen(settings), poller.heard), stop):
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
def _grace(parts: Parts, grace: float) -> Iterator[None]:
    """After claiming has ended: hand back what has not started, let the rest finish, or interrupt it."""
    execution, runner = parts.execution, parts.runner
    try:
        yield
    finally:
        until = time.monotonic() + grace
        execution.stopping.set()
        for task in parts.destinations.release() + runner.unstarted():
            execution.give_back(task)
        is_idle = runner.wait_until_idle(until)
        # A claim may have come late, or a task begun to wait just when the others were taken back.
        for task in parts.destinations.release() + runner.unstarted():
            execution.give_back(task)
        if not is_idle:
            interrupted = [
                running.task.id
                for running in runner.running()
                if execution.end(running, Retry("interrupted by the shutdown of its worker, may have run"))
            ]
            logger.warning("Interrupted after %g s of grace: tasks %s", grace, interrupted)


def _report(settings: Settings, outage: Outage, parts: Parts) -> Report:
    """What the parent is told, for the probes and the metrics."""
    return Report(
        unready=_unready(outage, parts.poller),
        counts=plus(parts.tally.told(), {"outages": outage.count}),
        gauges={
            "in_flight": parts.leases.count,
            "threads": settings.concurrency,
            "database_up": bool(outage.up),
            "destinations_postponed": parts.destinations.broken,
        },
    )


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
