"""Deliveries: the same calls made by at-worker's own executors and by a plain script."""

import json
import sys
from collections.abc import Sequence

import numpy as np
import psycopg

from bench.arena import Arena, Place
from bench.bare import BODY
from bench.contenders.contender import Contender
from bench.enqueue import enqueuer
from bench.marks import Times
from bench.processes import Ended, running, tail
from bench.waiting import until_finished

INSERT = """
INSERT INTO scheduled_tasks (task_type, payload, execute_at)
SELECT %(type)s, replace(%(payload)s, '{n}', n::text)::jsonb,
       now() + coalesce(%(start)s::float8 + n / %(rate)s::float8, 0) * interval '1 second'
  FROM generate_series(0, %(count)s - 1) AS n
"""
FAILED = "SELECT min(error_message), count(*) FROM scheduled_tasks WHERE error_message IS NOT NULL"
ENDED = "SELECT extract(epoch FROM completed_at)::float8 FROM scheduled_tasks WHERE status = 'completed'"

DATA = json.loads(BODY)


class Undelivered(RuntimeError):
    """Some tasks failed."""


def insert(
    place: Place,
    task_type: str,
    payload: object,
    count: int,
    *,
    start: float | None = None,
    rate: float = 1.0,
) -> None:
    """Tasks that are due now, or from `start` seconds from now on at a rate; `{n}` is the task's number."""
    parameters = {
        "type": task_type,
        "payload": json.dumps(payload),
        "count": count,
        "start": start,
        "rate": rate,
    }
    with psycopg.connect(place.dsn, autocommit=True) as connection:
        connection.execute(INSERT, parameters)


def deliver(
    arena: Arena, worker: Contender, task_type: str, payload: object, count: int, processes: int = 1
) -> Times:
    """When each of so many tasks ended."""
    with arena.place(1) as place:
        with enqueuer(worker, place) as producer:
            producer.prepare()
        insert(place, task_type, payload, count)
        arena.settle_down()
        with worker.run(place, processes):
            # The rows tell when they ended; who asks often takes the time from those that work.
            until_finished(worker, place, step=0.2)
        return ended(place, count)


def ended(place: Place, count: int) -> Times:
    """When the attempts ended, as their rows say. Raises Undelivered."""
    with psycopg.connect(place.dsn, autocommit=True) as connection:
        times = [row[0] for row in connection.execute(ENDED).fetchall()]
        if len(times) != count:
            why, failed = connection.execute(FAILED).fetchall()[0]
            raise Undelivered(f"{failed} of {count} tasks failed, for instance: {why}")
    return np.array(times)


def bare(arena: Arena, kind: str, count: int, threads: int, target: Sequence[str]) -> Times:
    """When each call ended, made by a plain script."""
    return _script(arena, "bench.bare", kind, str(count), str(threads), *target)


def prepared(arena: Arena, count: int, window: int, target: Sequence[str]) -> Times:
    """When the broker confirmed each of the messages that cost nothing to write."""
    return _script(arena, "bench.prepared", str(count), str(window), *target)


def _script(arena: Arena, module: str, *arguments: str) -> Times:
    log = arena.directory / "script.log"
    with running([sys.executable, "-m", module, *arguments], log) as process:
        output = process.stdout.read() if process.stdout else ""
        if not output:
            raise Ended(f"{module}: {tail(log)}")
    return np.array(json.loads(output))
