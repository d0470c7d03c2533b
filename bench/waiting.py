"""Waits for tasks to start and for a store to be empty, with limits and an eye on the processes."""

import math
import subprocess
import time
from collections.abc import Sequence

from bench.arena import Place
from bench.contenders.contender import Contender
from bench.enqueue import Enqueuer
from bench.processes import check

WARM_UPS = 20  # the first slots of every trial
STALL = 20.0  # seconds without progress after which a trial is over
STEP = 0.01


class Stalled(RuntimeError):
    """Nothing started for long."""


def until_started(
    place: Place,
    processes: Sequence[subprocess.Popen[str]],
    first: int,
    count: int,
    longest: float = math.inf,
) -> bool:
    """Wait until all these tasks have started; False where that takes longer, in seconds since the first did.

    Raises Stalled or Ended.
    """
    seen, since, began = 0, time.monotonic(), math.inf
    while (written := place.marks.written(first, count)) < count:
        now = time.monotonic()
        if written > seen:
            seen, since, began = written, now, min(began, now)
        elif now - since > STALL:
            raise Stalled(f"{written} of {count} tasks started, then none for {STALL:g} s")
        if now - began > longest:
            return False
        check(processes, place.log)
        time.sleep(STEP)
    return True


def until_finished(contender: Contender, place: Place, step: float = STEP) -> float:
    """Wait until the store holds no unfinished task, asking every `step` seconds; return when that was."""
    end = time.monotonic() + STALL
    while True:
        asked = time.time()
        if not (waiting := contender.waiting(place)):
            return asked
        if time.monotonic() > end:
            raise Stalled(f"{waiting} tasks started and were never finished")
        time.sleep(step)


def until_ready(place: Place, processes: Sequence[subprocess.Popen[str]], producer: Enqueuer) -> None:
    """Let the workers carry out some tasks, so that they are connected and warm."""
    producer.put(0, WARM_UPS)
    until_started(place, processes, 0, WARM_UPS)
