"""Drain: no-op tasks, all due when the workers start."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from bench.arena import Arena
from bench.contenders.contender import Contender
from bench.contenders.everyone import EVERYONE
from bench.enqueue import enqueuer
from bench.measure import Measure, Metric, Sample, Trial, rate
from bench.plan import Plan
from bench.waiting import until_finished, until_started


def drain(arena: Arena, contender: Contender, tasks: int, processes: int) -> Sample:
    """Enqueue, start the workers, and wait for all."""
    with arena.place(tasks) as place:
        with enqueuer(contender, place) as producer:
            producer.prepare()
            producer.put(0, tasks)
        arena.settle_down()
        with contender.run(place, processes) as workers:
            until_started(place, workers, 0, tasks)
            finished = until_finished(contender, place)
            return Sample({"rate": rate(place.marks.times(0, tasks), finished)})


@contextmanager
def trials(arena: Arena, plan: Plan) -> Iterator[Sequence[Trial]]:
    """Every contender; those on PostgreSQL also with two worker processes where they are tuned."""
    found = []
    for one in plan.contenders(EVERYONE):
        tasks = plan.tasks(one.drain_tasks)
        why_not = one.unavailable(arena)
        found.append(Trial(one.label, one.settings, partial(drain, arena, one, tasks, 1), why_not))
        if one.tuned and one.unfinished and plan.peer_defaults:
            two = partial(drain, arena, one, 2 * tasks, 2)
            found.append(Trial(f"{one.label}, 2 processes", one.settings, two, why_not))
    yield found


MEASURE = Measure(
    "drain",
    "Drain of no-op tasks",
    "All tasks are enqueued before the workers start. Counted from the moment in which a tenth of them has "
    "started (what comes before is start-up) until the last has started and the table holds no unfinished "
    "one; a broker does not tell the latter, there the last start counts.",
    (Metric("rate", "tasks/s", "higher"),),
    trials,
)
