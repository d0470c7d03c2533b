"""The queue of at-worker, used without its worker: what a claim costs."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from at_worker.config import load
from at_worker.outcome import Settlement, Status
from at_worker.store.database import Database
from at_worker.store.queue import Queue
from at_worker.task import Task

LOOK_AHEAD = 0.25  # seconds, as the worker does


class Claimer:
    """Claims and settles as a worker does, one statement after the other, and times both."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._turn = 0
        self.seconds: list[float] = []
        self.settling: list[float] = []

    def claim(self, room: int) -> tuple[Task, ...]:
        """One timed claim."""
        self._turn += 1
        began = time.perf_counter()
        batch = self._queue.claim(room, self._turn, ahead=room, look_ahead=LOOK_AHEAD)
        self.seconds.append(time.perf_counter() - began)
        return batch.tasks

    def settle(self, tasks: Sequence[Task]) -> None:
        """All of them succeeded."""
        now = time.monotonic()
        settlements = [Settlement(task, Status.COMPLETED, started=now, ended=now) for task in tasks]
        if settlements:
            began = time.perf_counter()
            self._queue.settle(settlements)
            self.settling.append(time.perf_counter() - began)


@contextmanager
def claimer(dsn: str) -> Iterator[Claimer]:
    """A claimer with a connection of its own."""
    database = Database(load({"DATABASE_URL": dsn}, ()))
    database.open()
    try:
        yield Claimer(Queue(database, "bench/1", None))
    finally:
        database.close()
