"""The parent process: it starts worker processes, watches them, and starts another where one dies.

It runs no task and imports no executor. Each worker process has a slot, and each slot a thread that waits for
the end of its process: the kernel tells, nothing polls.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from at_worker.config import ConfigError, Settings
from at_worker.engine.loop import Loop, running
from at_worker.engine.outage import Outage
from at_worker.engine.probes import Probes
from at_worker.engine.reclaimer import Reclaimer
from at_worker.engine.stop import EXIT_OK, Stop
from at_worker.engine.tally import Tally
from at_worker.store.admin import init_db, is_current
from at_worker.store.database import Database
from at_worker.store.errors import Away, Refused, Unavailable, Unusable
from at_worker.store.recovery import Recovery
from at_worker.supervisor.depth import Depth
from at_worker.supervisor.process import WorkerProcess
from at_worker.supervisor.slot import Slot

__all__ = ["run"]

logger = logging.getLogger(__name__)

# Giving back what workers that died while they stopped had claimed is granted this much.
LAST_LOOK = 2.0


def run(
    settings: Settings,
    processes: int = 1,
    *,
    init: bool = False,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Run worker processes until a signal ends them; returns the exit code. Raises ConfigError.

    `init` applies the schema first, where it is not there yet. `environment` wins over that of this process.
    """
    recovery = Recovery(Database(settings), settings.stuck_timeout, settings.task_types)
    tally = Tally()
    reclaimer = Reclaimer(recovery, tally, settings.retry_delays)

    def died(process: WorkerProcess, how: str) -> None:
        tally.know(process.last.types)
        reclaimer.put(process.holder, how)

    slots: list[Slot] = []
    stop = Stop(lambda: _kill(slots))
    slots += [
        Slot(label, environment or {}, died, stop.end) for label in _labels(settings.worker_id, processes)
    ]
    reclaiming = Loop("reclaimer", reclaimer.turn, stop.unusable)
    reclaimer.wake = reclaiming.wake
    with stop.installed(), running(reclaiming), _probes(settings, slots, tally, stop):
        if not init or _initialised(settings, stop):
            with _tended(slots):
                stop.wait()
                stop.tell()
            reclaimer.finish(LAST_LOOK)
    if problems := next((slot.problems for slot in slots if slot.problems), None):
        raise ConfigError(problems)
    return stop.exit_code or next((slot.exit_code for slot in slots if slot.exit_code), EXIT_OK)


def _labels(worker_id: str, processes: int) -> list[str]:
    if processes == 1:
        return [worker_id]
    return [f"{worker_id}.{number}" for number in range(1, processes + 1)]


def _initialised(settings: Settings, stop: Stop) -> bool:
    """Wait for the database and apply the schema; False where the run is to end instead."""
    outage = Outage()
    database = Database(settings)
    while True:
        try:
            if not is_current(database):
                init_db(database)
            return True
        except Away as error:
            outage.observe(error)
        except Unavailable as error:
            logger.warning("The table cannot be made yet: %s", error)
        except (Refused, Unusable) as error:
            stop.unusable(error)
        if stop.wait(1.0):
            stop.tell()
            return False


@contextmanager
def _tended(slots: Sequence[Slot]) -> Iterator[None]:
    for slot in slots:
        slot.start()
    try:
        yield
    finally:
        for slot in slots:
            slot.stop()
        for slot in slots:
            slot.join()


def _kill(slots: Sequence[Slot]) -> None:
    for slot in slots:
        slot.kill()


@contextmanager
def _probes(settings: Settings, slots: Sequence[Slot], tally: Tally, stop: Stop) -> Iterator[None]:
    if not settings.metrics_port:
        yield
        return
    # The library of Prometheus comes with it, which is of no use without the port.
    from at_worker.supervisor.exposition import Exposition  # noqa: PLC0415 - as above

    depth = Depth(Database(settings))
    asking = Loop("queue depth", depth.turn, stop.unusable)
    depth.wake = asking.wake
    probes = Probes(
        settings.metrics_host,
        settings.metrics_port,
        {"/healthz": lambda: _unhealthy(slots, stop), "/readyz": lambda: _unready(slots, stop)},
        {"/metrics": Exposition(slots, tally, depth).page},
    )
    with running(asking), probes:
        yield


def _unhealthy(slots: Sequence[Slot], stop: Stop) -> str | None:
    """Healthy means that every process is looked after, whether or not it runs just now."""
    forsaken = [slot.label for slot in slots if slot.forsaken]
    return f"nobody looks after {', '.join(forsaken)}" if forsaken and not stop.wait(0) else None


def _unready(slots: Sequence[Slot], stop: Stop) -> str | None:
    """Ready means that every process is."""
    if stop.wait(0):
        return "stopping"
    reasons = [f"{slot.label}: {reason}" for slot in slots if (reason := slot.report().unready)]
    return "; ".join(reasons) or None
