"""What at-worker is to reach, what was measured, and what bounds each figure now; ratios within one run."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.results import Run

TUNED, DEFAULT = "at-worker, tuned", "at-worker, defaults"
BARE_POOL = "bare pool of requests sessions"
BARE_PIKA = "one blocking pika connection"
BROKER = "the broker alone"
BARE_INSERT = "bare INSERT and round trip"

SCHEMA, NO_TRIGGERS = "the schema as it is", "without its triggers"
UNMEASURED: tuple[tuple[str, float | None], ...] = (("0.1", None), ("10 million future rows", None))


@dataclass(frozen=True, slots=True)
class Target:
    """A figure to reach: a ceiling, or else a floor. `value` is None where it was not measured."""

    what: str
    value: float | None
    bound: float
    bounded_by: str
    ceiling: bool = True
    stretch: float | None = None
    digits: int = 2

    @property
    def reached(self) -> bool:
        if self.value is None:
            return False
        return self.value <= self.bound if self.ceiling else self.value >= self.bound


def targets(run: Run) -> list[Target]:
    """All of them, measured or not."""
    return [
        *_drain(run),
        *_lateness(run),
        *_due_now(run),
        *_claims(run),
        *_deliveries(run),
        *_inserts(run),
        *_cost(run),
    ]


def _drain(run: Run) -> Iterator[Target]:
    for own, variant, floor, bounded_by in (
        (
            TUNED,
            "",
            1.5,
            "the GIL, at nine tenths of a core; PostgreSQL writes each row twice, on the other",
        ),
        (DEFAULT, "defaults", 1.0, "a claim takes ten tasks, and is a round trip of its own"),
    ):
        peers = _rates(run, variant)
        best = max(peers, key=lambda label: peers[label], default=None)
        name = own.removeprefix("at-worker, ")
        what = f"drain, {name}: times the fastest peer" + (f" ({best})" if best else "")
        ratio = _ratio(run.value("drain", own, "rate"), peers[best] if best else None)
        yield Target(what, ratio, floor, bounded_by, ceiling=False)


def _rates(run: Run, variant: str) -> dict[str, float]:
    """What the peers reached, each by one command; those with these settings, if any are named."""
    lines = run.tables["drain"].lines.values() if "drain" in run.tables else ()
    return {
        line.label: rate
        for line in lines
        if not line.label.startswith("at-worker")
        and "processes" not in line.label
        and line.label.endswith(variant)
        and (rate := line.value("rate"))
    }


def _lateness(run: Run) -> Iterator[Target]:
    alone = (
        (
            "p50",
            0.5,
            "a timed wait ends 0.04 ms late; then its thread wakes the next and calls the executor",
        ),
        ("p99", 2.0, "the claim of later tasks and the writing of results, in the same interpreter"),
        ("early", 0.0, "nothing: a task waits for its instant"),
    )
    beside = (
        ("p99", 20.0, "the GIL: a thread that wakes waits for the callbacks' Python code to let it go"),
        ("early", 0.0, "nothing: a task waits for its instant"),
    )
    for table, where, figures in (
        ("lateness", "", alone),
        ("beside_https", " beside 300 HTTPS callbacks/s", beside),
    ):
        for rate in (50, 1000):
            for key, ceiling, bounded_by in figures:
                told = "tasks started early" if key == "early" else f"{key}, ms"
                yield Target(
                    f"lateness at {rate:,}/s{where}, defaults: {told}",
                    run.value(table, DEFAULT, f"{key}@{rate}"),
                    ceiling,
                    bounded_by,
                    digits=0 if key == "early" else 2,
                )


def _due_now(run: Run) -> Iterator[Target]:
    for key, ceiling in (("p50", 2.0), ("p99", 5.0)):
        bare = run.value("lateness", BARE_INSERT, f"{key}@now")
        least = "" if bare is None else f"; a bare INSERT and one round trip alone took {bare:.2f} ms"
        yield Target(
            f"due now, defaults: insert to start, {key}, ms",
            run.value("lateness", DEFAULT, f"{key}@now"),
            ceiling,
            f"the commit of the insert; then a NOTIFY, a claim of its lane, and three threads to wake{least}",
        )


def _claims(run: Run) -> Iterator[Target]:
    sizes = [
        (label, p50)
        for label, line in (run.tables["claims"].lines.items() if "claims" in run.tables else ())
        if label.endswith("future rows") and (p50 := line.value("p50"))
    ]
    ends = (sizes[0], sizes[-1]) if len(sizes) > 1 else UNMEASURED
    yield Target(
        f"claim, nothing due, {ends[0][0]} to {ends[1][0]}: times as long",
        _ratio(ends[1][1], ends[0][1]),
        1.5,
        "the round trip; the walk of the index touches the same few pages at every size",
    )
    for label in ("inserts going on, old snapshot held", "all due at one instant, old snapshot held"):
        tasks = run.value("snapshot", label, "tasks")
        yield Target(
            f"claims of {tasks or 200_000:,.0f} tasks, {label}: last / first",
            run.value("snapshot", label, "ratio"),
            1.5,
            "the remembered bound of the lane, which steps over what vacuum may not remove",
        )


def _deliveries(run: Run) -> Iterator[Target]:
    bounds = {
        0: "the GIL, which http.client, the engine and psycopg share; bench.callback_cost shows the parts",
        20: "the threads: 32 of them make at most 1,600 calls of 20 ms a second, the bare pool's too",
    }
    for delay, bound in bounds.items():
        yield Target(
            f"HTTP callbacks, {delay} ms answers: times the bare pool",
            _of(run, "callbacks", DEFAULT, BARE_POOL, f"rate@{delay}"),
            1.0,
            bound,
            ceiling=False,
            stretch=2.0,
        )
    others = "".join(
        f"; {who} {times:.1f} times"
        for who, label in (
            ("two processes make", f"{TUNED}, 2 processes"),
            ("a client that costs nothing, with no database, makes", BROKER),
        )
        if (times := _of(run, "messages", label, BARE_PIKA, "rate")) is not None
    )
    yield Target(
        "RabbitMQ, tuned: times one blocking connection",
        _of(run, "messages", TUNED, BARE_PIKA, "rate"),
        5.0,
        f"the GIL, which parsing, pika and the engine share, and the cores, which all share{others}",
        ceiling=False,
    )


def _inserts(run: Run) -> Iterator[Target]:
    yield Target(
        "far-future inserts by 16 clients: times the table without triggers",
        _of(run, "inserts", SCHEMA, NO_TRIGGERS, "far"),
        0.9,
        "the WAL flush that the clients share; of the triggers only the WHEN clause runs",
        ceiling=False,
    )


def _cost(run: Run) -> Iterator[Target]:
    yield Target(
        "idle, defaults: % of a core",
        run.value("idle", DEFAULT, "cpu"),
        1.0,
        "one claim every five seconds, and the clocks of waiting threads",
    )
    yield Target(
        "idle, defaults: statements per polling interval, beside the listener",
        run.value("idle", DEFAULT, "statements"),
        1.0,
        "the claim itself, which also finds the next instant",
    )
    yield Target(
        "memory over a long drain, tuned: end / after a tenth",
        _ratio(run.value("memory", TUNED, "end"), run.value("memory", TUNED, "early")),
        1.1,
        "what is in flight: a claim's rows and the results that wait to be written",
    )


def _of(run: Run, table: str, ours: str, theirs: str, key: str) -> float | None:
    """One median in terms of another."""
    return _ratio(run.value(table, ours, key), run.value(table, theirs, key))


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    return ours / theirs if ours is not None and theirs else None
