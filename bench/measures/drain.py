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

LONGEST = 5.0  # seconds; of a drain that takes longer, this much counts


def drain(arena: Arena, contender: Contender, tasks: int, processes: int) -> Sample:
    """Enqueue, start the workers, and wait for all."""
    with arena.place(tasks) as place:
        with enqueuer(contender, place) as producer:
            producer.prepare()
            producer.put(0, tasks)
        arena.settle_down()
        with contender.run(place, processes) as workers:
            every = until_started(place, workers, 0, tasks, LONGEST)
            finished = until_finished(contender, place) if every else None
            times = place.marks.times(0, tasks)
            return Sample({"rate": rate(times[times > 0], finished)})


@contextmanager
def trials(arena: Arena, plan: Plan) -> Iterator[Sequence[Trial]]:
    """Every contender; those on PostgreSQL also with two worker processes."""
    found = []
    for one in plan.contenders(EVERYONE):
        tasks = plan.tasks(one.drain_tasks)
        why_not = one.unavailable(arena)
        found.append(Trial(one.label, one.settings, partial(drain, arena, one, tasks, 1), why_not))
        if one.unfinished and plan.two_processes:
            two = partial(drain, arena, one, 2 * tasks, 2)
            found.append(Trial(f"{one.label}, 2 processes", one.settings, two, why_not))
    yield found


MEASURE = Measure(
    "drain",
    "Drain of no-op tasks",
    "All tasks are enqueued before the workers start. Counted from the moment in which a tenth of them has "
    "started (what comes before is start-up) until the last has started and the table holds no unfinished "
    "one; a broker does not tell the latter, there the last start counts. Who is not through after "
    f"{LONGEST:g} s is measured over these. *2 processes*: `at-worker run --processes 2`, two workers of the "
    "peers that have no such option; Celery and dramatiq start two processes in any case.",
    (Metric("rate", "tasks/s", "higher"),),
    trials,
)
