"""The figures that at-worker is to reach, beside what the run measured; ratios within one run."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.results import Run

TUNED, DEFAULT = "at-worker, tuned", "at-worker, defaults"
BARE_POOL = "bare pool of requests sessions"
BARE_PIKA = "one blocking pika connection"
SCHEMA, NO_TRIGGERS = "the schema as it is", "without its triggers"


@dataclass(frozen=True, slots=True)
class Target:
    """A figure to reach; `most` says that it is a ceiling, else it is a floor."""

    what: str
    value: float
    bound: float
    most: bool
    digits: int = 2

    @property
    def reached(self) -> bool:
        return self.value <= self.bound if self.most else self.value >= self.bound


def targets(run: Run) -> Iterator[Target]:
    """What can be told from a run; what was not measured is left out."""
    yield from _drain(run)
    yield from _lateness(run)
    yield from _claims(run)
    yield from _deliveries(run)
    yield from _cost(run)


def _drain(run: Run) -> Iterator[Target]:
    for own, kind, floor in ((TUNED, "", 1.5), (DEFAULT, "defaults", 1.0)):
        ours = run.value("drain", own, "rate")
        peers = _peers(run, kind)
        if ours and peers:
            best = max(peers, key=lambda label: peers[label])
            what = f"drain, {own.removeprefix('at-worker, ')}: times the best peer ({best})"
            yield Target(what, ours / peers[best], floor, most=False)


def _peers(run: Run, kind: str) -> dict[str, float]:
    """The rates of all peers with one process, of those with this variant if one is named."""
    lines = run.tables["drain"].lines.values() if "drain" in run.tables else ()
    return {
        line.label: rate
        for line in lines
        if not line.label.startswith("at-worker")
        and "processes" not in line.label
        and line.label.endswith(kind)
        and (rate := line.value("rate"))
    }


def _lateness(run: Run) -> Iterator[Target]:
    wanted = [
        ("lateness", f"{key}@{rate}", f"lateness at {rate}/s, defaults, {key}, ms", bound)
        for rate in (50, 1000)
        for key, bound in (("p50", 0.5), ("p99", 2.0), ("early", 0.0))
    ]
    wanted += [
        ("beside_https", "p99", "lateness beside 300 HTTPS callbacks/s, p99, ms", 20.0),
        ("lateness", "p50@now", "due now: insert to start, p50, ms", 2.0),
        ("lateness", "p99@now", "due now: insert to start, p99, ms", 5.0),
    ]
    for table, key, what, bound in wanted:
        if (value := run.value(table, DEFAULT, key)) is not None:
            yield Target(what.replace("early, ms", "started early"), value, bound, most=True)


def _claims(run: Run) -> Iterator[Target]:
    if "claims" in run.tables:
        sizes = [line for label, line in run.tables["claims"].lines.items() if label.endswith("future rows")]
        medians = [value for line in sizes if (value := line.value("p50"))]
        if len(medians) > 1:
            what = f"claim, nothing due, {sizes[0].label} to {sizes[-1].label}: times as long"
            yield Target(what, medians[-1] / medians[0], 1.5, most=True)
    for line in run.tables["snapshot"].lines.values() if "snapshot" in run.tables else ():
        if ratio := line.value("ratio"):
            yield Target(f"claims, {line.label}: last / first", ratio, 1.5, most=True)


def _deliveries(run: Run) -> Iterator[Target]:
    for delay in (0, 20):
        bare = run.value("callbacks", BARE_POOL, f"rate@{delay}")
        ours = run.value("callbacks", DEFAULT, f"rate@{delay}")
        if bare and ours:
            yield Target(
                f"HTTP callbacks, {delay} ms answers: times the bare pool", ours / bare, 1.0, most=False
            )
    bare, ours = run.value("messages", BARE_PIKA, "rate"), run.value("messages", TUNED, "rate")
    if bare and ours:
        yield Target("RabbitMQ: times one blocking connection", ours / bare, 5.0, most=False)


def _cost(run: Run) -> Iterator[Target]:
    plain, ours = run.value("inserts", NO_TRIGGERS, "far"), run.value("inserts", SCHEMA, "far")
    if plain and ours:
        yield Target("far-future inserts: times the table without triggers", ours / plain, 0.9, most=False)
    for key, what, bound in (
        ("cpu", "idle: % of a core", 1.0),
        ("statements", "idle: transactions per polling interval, one beside the listener's", 1.5),
    ):
        if (value := run.value("idle", DEFAULT, key)) is not None:
            yield Target(what, value, bound, most=True)
    early, end = run.value("memory", TUNED, "early"), run.value("memory", TUNED, "end")
    if early and end:
        yield Target("memory: end / after a tenth of the tasks", end / early, 1.1, most=True)
