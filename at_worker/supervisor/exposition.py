"""`/metrics` for Prometheus: what all processes of one parent counted, as one text."""

import platform
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from itertools import accumulate
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from at_worker import __version__
from at_worker.engine.probes import Page
from at_worker.engine.report import Report
from at_worker.engine.tally import CLAIMS, LATENESS, OTHER, ROWS, RUNS, Ended, Tally, plus
from at_worker.store.waiting import Waiting
from at_worker.supervisor.depth import Depth
from at_worker.supervisor.slot import Slot

_GAUGES = {
    "in_flight": "Tasks that the worker has claimed and not settled yet",
    "threads": "Tasks that the worker can run at once",
    "database_up": "Whether the database answered the worker last",
    "destinations_postponed": "Destinations that the worker cannot reach: their tasks are postponed",
}


class Exposition(Collector):
    """Asks everybody when it is read.

    The workers count in plain numbers and tell them over the socket that they have anyway. The multiprocess
    mode of the library would need a directory to write in, which a read-only container lacks, and would be
    loaded in every worker.
    """

    def __init__(self, slots: Sequence[Slot], tally: Tally, depth: Depth) -> None:
        self._slots = slots
        self._tally = tally
        self._depth = depth

    def page(self) -> Page:
        return Page(CONTENT_TYPE_PLAIN_0_0_4, generate_latest(self))

    def collect(self) -> Iterator[Metric]:
        # All at once: each that hangs takes its second.
        with ThreadPoolExecutor(len(self._slots) + 1) as pool:
            waiting = pool.submit(self._depth.ask)
            reports = list(pool.map(Slot.report, self._slots))
        counts: Any = reduce(plus, (report.counts for report in reports), self._tally.told())
        yield from _counted(counts)
        yield from self._processes(reports)
        yield from _waiting(waiting.result(), counts["types"])
        build = GaugeMetricFamily("at_worker_build_info", "What runs", labels=["version", "python"])
        build.add_metric([__version__, platform.python_version()], 1)
        yield build

    def _processes(self, reports: Sequence[Report]) -> Iterator[Metric]:
        deaths = CounterMetricFamily(
            "at_worker_process_deaths", "Worker processes that ended and were replaced", labels=["worker"]
        )
        up = GaugeMetricFamily(
            "at_worker_up", "Whether the worker process is ready: claims work", labels=["worker"]
        )
        for slot, report in zip(self._slots, reports, strict=True):
            deaths.add_metric([slot.label], slot.deaths)
            up.add_metric([slot.label], report.unready is None)
        yield deaths
        yield up
        for name, meaning in _GAUGES.items():
            family = GaugeMetricFamily(f"at_worker_{name}", meaning, labels=["worker"])
            for slot, report in zip(self._slots, reports, strict=True):
                if name in report.gauges:
                    family.add_metric([slot.label], report.gauges[name])
            yield family


def _counted(counts: Any) -> Iterator[Metric]:  # noqa: ANN401 - the numbers that a Tally tells
    tasks = CounterMetricFamily(
        "at_worker_tasks", "Claims of tasks that ended, by how they did", labels=["task_type", "outcome"]
    )
    late = HistogramMetricFamily(
        "at_worker_lateness_seconds",
        "From the instant of a task to the start of its attempt",
        labels=["task_type"],
    )
    ran = HistogramMetricFamily(
        "at_worker_run_seconds", "From the start of an attempt to its end", labels=["task_type"]
    )
    for name, series in sorted(counts["types"].items()):
        for outcome, count in zip(Ended, series["ended"], strict=True):
            tasks.add_metric([name, outcome], count)
        _add(late, [name], LATENESS, series["late"])
        _add(ran, [name], RUNS, series["ran"])
    yield from (tasks, late, ran)
    for key, bounds, meaning in (
        ("claim_seconds", CLAIMS, "How long the statement of a claim took"),
        ("claim_rows", ROWS, "How many rows a claim brought"),
        ("settle_rows", ROWS, "How many ends of tasks one statement wrote"),
    ):
        family = HistogramMetricFamily(f"at_worker_{key}", meaning, labels=[])
        _add(family, [], bounds, counts[key])
        yield family
    yield CounterMetricFamily(
        "at_worker_database_outages",
        "How often the database stopped to answer a worker process",
        value=counts.get("outages", 0),
    )


def _add(
    family: HistogramMetricFamily, labels: Sequence[str], bounds: Sequence[float], told: Sequence[float]
) -> None:
    total, *counts = told
    names = [*(str(bound) for bound in bounds), "+Inf"]
    family.add_metric(labels, list(zip(names, accumulate(counts), strict=True)), total)


def _waiting(found: Sequence[Waiting] | None, known: Mapping[str, object]) -> Iterator[Metric]:
    """What waits, by type; nothing of it where the database did not answer."""
    if found is None:
        return
    rows = dict.fromkeys(known, 0)
    oldest = dict.fromkeys(known, 0.0)
    for one in found:
        name = one.type if one.type in known else OTHER
        rows[name] += one.rows
        oldest[name] = max(oldest[name], one.oldest)
    due = GaugeMetricFamily(
        "at_worker_queue_due_tasks",
        "Tasks that are due and wait for a worker; counted up to 10,000 for each type and priority",
        labels=["task_type"],
    )
    age = GaugeMetricFamily(
        "at_worker_queue_oldest_due_seconds",
        "For how long the oldest of them has been due",
        labels=["task_type"],
    )
    for name in sorted(known):
        due.add_metric([name], rows[name])
        age.add_metric([name], oldest[name])
    yield from (due, age)
