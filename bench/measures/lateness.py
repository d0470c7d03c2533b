"""Lateness of tasks scheduled ahead at two rates, and the latency of tasks inserted as due now."""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import psycopg

from bench.arena import Arena, Place
from bench.contenders.contender import Contender
from bench.contenders.everyone import EVERYONE
from bench.enqueue import Enqueuer, enqueuer
from bench.marks import Times
from bench.measure import Measure, Metric, Sample, Trial, curve, spread
from bench.plan import Plan
from bench.waiting import WARM_UPS, until_ready, until_started

RATES = (50, 1000)
HEADSTART = 1.0  # seconds between the end of the enqueueing, as expected, and the first instant
GAPS = (0.02, 0.06)  # seconds between two inserts that are due now
GRACE = 10.0  # seconds after the last instant in which tasks may start

MILLISECONDS = 1000.0
BARE = "bare INSERT and round trip"


class TooLate(RuntimeError):
    """The tasks were not enqueued before the first was due."""


def schedule(producer: Enqueuer, first: int, count: int, rate: float, puts: float) -> Times:
    """Enqueue tasks ahead at even distances; return their instants."""
    start = time.time() + HEADSTART + count / puts
    due = start + np.arange(count) / rate
    producer.schedule(first, due.tolist())
    if time.time() > start:
        raise TooLate(f"{count} tasks took {time.time() - start + HEADSTART:.1f} s to enqueue")
    return due


def lateness(place: Place, first: int, due: Times) -> Times:
    """How late each task started, milliseconds; one that has not started counts as if it did now."""
    starts = place.marks.times(first, len(due))
    return (np.where(starts > 0, starts, time.time()) - due) * MILLISECONDS


def punctuality(arena: Arena, plan: Plan, contender: Contender) -> Sample:
    """One life of a worker: some tasks that are due now, then tasks scheduled ahead at both rates."""
    counts = [round(plan.lateness_seconds * rate) for rate in RATES]
    values: dict[str, float] = {}
    curves = {}
    with (
        arena.place(WARM_UPS + sum(counts) + plan.due_now_tasks) as place,
        enqueuer(contender, place) as producer,
    ):
        producer.prepare()
        arena.settle_down()
        with contender.run(place) as workers:
            until_ready(place, workers, producer)
            chance = random.Random(1)  # noqa: S311 - the same gaps for all
            calls = np.array(
                producer.trickle(WARM_UPS, [chance.uniform(*GAPS) for _ in range(plan.due_now_tasks)])
            )
            until_started(place, workers, WARM_UPS, plan.due_now_tasks)
            latency, after_commit = (lateness(place, WARM_UPS, instants) for instants in calls.T)
            first = WARM_UPS + plan.due_now_tasks
            for rate, count in zip(RATES, counts, strict=True):
                due = schedule(producer, first, count, rate, contender.puts)
                until_started(place, workers, first, count, plan.lateness_seconds + GRACE)
                late = lateness(place, first, due)
                values |= {f"{key}@{rate}": value for key, value in spread(late).items()}
                values[f"early@{rate}"] = float((late < 0).sum())
                curves[f"lateness@{rate}"] = curve(late)
                first += count
    values |= {f"{key}@now": value for key, value in spread(latency).items()}
    values |= {f"{key}@commit": value for key, value in spread(after_commit).items()}
    curves["latency@now"] = curve(latency)
    return Sample(values, curves)


def bare(arena: Arena, plan: Plan) -> Sample:
    """What a queue in PostgreSQL cannot do without: the commit of a row, and a round trip to claim it."""
    chance = random.Random(1)  # noqa: S311 - the same gaps as for all
    committed, answered = [], []
    with arena.database() as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE bare (n int)")
        for number in range(WARM_UPS + plan.due_now_tasks):
            time.sleep(chance.uniform(*GAPS))
            began = time.time()
            connection.execute("INSERT INTO bare VALUES (%s)", (number,))
            committed.append(time.time() - began)
            connection.execute("SELECT 1")
            answered.append(time.time() - began)
    whole, insert = (np.array(seconds[WARM_UPS:]) * MILLISECONDS for seconds in (answered, committed))
    values = {f"{key}@now": value for key, value in spread(whole).items()}
    return Sample(values | {f"{key}@commit": value for key, value in spread(whole - insert).items()})


@contextmanager
def trials(arena: Arena, plan: Plan) -> Iterator[Sequence[Trial]]:
    """Every contender, and what none of those on PostgreSQL can do without."""
    yield [
        *(
            Trial(one.label, one.settings, partial(punctuality, arena, plan, one), one.unavailable(arena))
            for one in plan.contenders(EVERYONE)
        ),
        Trial(BARE, "no worker: INSERT of one integer, then SELECT 1", partial(bare, arena, plan)),
    ]


MEASURE = Measure(
    "lateness",
    "Lateness of tasks scheduled ahead, and latency of tasks due now",
    "Start of the handler minus the scheduled instant, by one machine's clock, in milliseconds, at 50 and at "
    "1,000 tasks a second, all enqueued ahead while the worker runs. *Now*: tasks due at once, enqueued one "
    "at a time; from just before the call to the start of the handler, and from the return of the call. Who "
    f"falls behind is watched for {GRACE:g} s after the last instant; what has not started by then counts "
    "as if it did.",
    (
        *(
            Metric(f"{key}@{rate}", f"{key} at {rate}/s", "lower", 2)
            for rate in RATES
            for key in ("p50", "p99", "max")
        ),
        *(Metric(f"early@{rate}", f"early at {rate}/s", "lower") for rate in RATES),
        *(Metric(f"{key}@now", f"{key} now", "lower", 2) for key in ("p50", "p99", "max")),
        *(Metric(f"{key}@commit", f"{key} now, from the return", "lower", 2) for key in ("p50", "p99")),
    ),
    trials,
    most_rounds=2,
)
