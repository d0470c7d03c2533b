"""`at-worker stats`: the picture at one look."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import click

from at_worker.cli import clock
from at_worker.cli.errors import asking, settings
from at_worker.cli.output import emit, json_option, say, tasks
from at_worker.cli.table import STYLES, Cell, Column, show
from at_worker.durations import spoken
from at_worker.outcome import Status
from at_worker.store import pauses, stats
from at_worker.store.pauses import Paused
from at_worker.store.stats import MOST_DUE, Count, Lateness, Picture

EXAMPLES = """
\b
Examples:
    at-worker stats
    watch -n 5 at-worker stats
    at-worker stats --json | jq '.types[] | select(.due > 1000) | .task_type'
"""

NOW = (
    Column("NOW", flexible=True),
    Column("DUE", right=True),
    Column("OLDEST", right=True),
    Column("PENDING", right=True),
    Column("RUNNING", right=True),
    Column("DONE", right=True),
    Column("FAILED", right=True),
    Column("CANCELLED", right=True),
)
LATELY = (
    Column("LATELY", flexible=True),
    Column("DONE 1H", right=True),
    Column("FAILED 1H", right=True),
    Column("DONE 24H", right=True),
    Column("FAILED 24H", right=True),
    Column("SUCCESS", right=True),
    Column("LATE P50", right=True),
    Column("LATE P99", right=True),
)
TOTAL = "all"


@dataclass(frozen=True, slots=True)
class _Line:
    """What is said of one type, or of all of them."""

    task_type: str
    by_status: dict[Status, Count]
    due: int
    more_due: bool
    oldest_due: datetime | None
    lateness: Lateness | None

    @property
    def success(self) -> float | None:
        """The share of completed tasks among those that ended within a day."""
        done, failed = self.by_status[Status.COMPLETED].day, self.by_status[Status.FAILED].day
        return done / (done + failed) if done + failed else None

    def record(self) -> dict[str, object]:
        """For scripts."""
        done, failed = self.by_status[Status.COMPLETED], self.by_status[Status.FAILED]
        return {
            **{status.value: count.tasks for status, count in self.by_status.items()},
            "due": self.due,
            "oldest_due": self.oldest_due,
            "last_hour": {"completed": done.hour, "failed": failed.hour},
            "last_day": {"completed": done.day, "failed": failed.day},
            "completed_per_hour": round(done.day / 24, 2),
            "success_rate": self.success,
            "lateness": self.lateness and asdict(self.lateness),
        }


@click.command("stats", epilog=EXAMPLES, short_help="Show the picture at one look.")
@click.option("--exact", is_flag=True, help="Read the whole table, however large it is.")
@json_option
def show_stats(*, exact: bool, as_json: bool) -> None:
    """Show how many tasks there are, what is due, late, paused or failing, and which workers are alive.

    What is due and what runs is always exact, but counted to 10,000 due tasks of a type and no further. The
    counts by status, what ended lately, and how late tasks started are read from the whole table up to
    256 MB. Of a larger one 32 MB are read, from all over it: these figures are then estimates, marked with ~.
    """
    with asking(settings(), needs="at_monitor") as session:
        picture = stats.picture(session, exact=exact)
        paused = pauses.paused(session)
    types = sorted(
        {task_type for task_type, _ in picture.counts} | picture.due.keys() | picture.running.keys()
    )
    lines = [_line(picture, [task_type], task_type) for task_type in types]
    total = _line(picture, types, None)
    if as_json:
        emit(
            {
                "at": picture.at,
                "sampled": picture.sampled,
                "all": total.record(),
                "types": [{"task_type": line.task_type, **line.record()} for line in lines],
                "paused": [asdict(each) for each in paused],
                "workers": [asdict(worker) for worker in picture.workers],
            }
        )
        return
    mark = "" if picture.sampled == 1.0 else "~"
    show(NOW, (_now_row(line, picture.at, mark) for line in (*lines, total)))
    say("")
    show(LATELY, (_lately_row(line, mark) for line in (*lines, total)))
    say("")
    for text in (*_paused_lines(paused), *_worker_lines(picture)):
        say(text)
    if mark:
        say(f"~ judged by {100 * picture.sampled:.2g} % of the table; --exact reads all of it", err=True)


def _line(picture: Picture, types: Sequence[str], lateness_of: str | None) -> _Line:
    by_status = {
        status: _sum(picture.counts.get((task_type, status), Count(0, 0, 0)) for task_type in types)
        for status in Status
    }
    running = sum(picture.running.get(task_type, 0) for task_type in types)
    by_status[Status.PROCESSING] = Count(running, running, running)
    due = [picture.due[task_type] for task_type in types if task_type in picture.due]
    return _Line(
        task_type=TOTAL if lateness_of is None else lateness_of,
        by_status=by_status,
        due=sum(each.count for each in due),
        more_due=any(each.count == MOST_DUE for each in due),
        oldest_due=min((each.oldest for each in due), default=None),
        lateness=picture.lateness.get(lateness_of),
    )


def _sum(counts: Iterable[Count]) -> Count:
    found = list(counts)
    return Count(
        sum(each.tasks for each in found), sum(each.hour for each in found), sum(each.day for each in found)
    )


def _now_row(line: _Line, at: datetime, mark: str) -> list[str | Cell]:
    oldest = spoken((at - line.oldest_due).total_seconds()) if line.oldest_due else ""
    return [
        line.task_type,
        f"{line.due:,}{'+' if line.more_due else ''}",
        oldest,
        *(
            Cell(
                f"{'' if status is Status.PROCESSING else mark}{count.tasks:,}",
                STYLES.get(status, "") if count.tasks else "",
            )
            for status, count in line.by_status.items()
        ),
    ]


def _lately_row(line: _Line, mark: str) -> list[str | Cell]:
    done, failed = line.by_status[Status.COMPLETED], line.by_status[Status.FAILED]
    return [
        line.task_type,
        *(f"{mark}{number:,}" for number in (done.hour, failed.hour, done.day, failed.day)),
        "" if line.success is None else f"{mark}{100 * line.success:.1f} %",
        *(("", "") if line.lateness is None else map(_milliseconds, (line.lateness.p50, line.lateness.p99))),
    ]


def _milliseconds(seconds: float) -> str:
    return spoken(seconds) if seconds >= 10 else f"{1000 * seconds:,.1f} ms"


def _paused_lines(paused: Sequence[Paused]) -> Iterable[str]:
    for each in paused:
        why = f": {each.reason}" if each.reason else ""
        yield f"paused: {each.task_type}, since {clock.short(each.paused_at)} by {each.paused_by}{why}"


def _worker_lines(picture: Picture) -> Iterable[str]:
    alive = [worker for worker in picture.workers if worker.alive]
    running = sum(worker.running for worker in alive)
    yield f"workers: {len(alive) or 'none'} alive, {tasks(running)} claimed"
    for worker in picture.workers:
        if not worker.alive:
            seen = clock.short(worker.seen_at)
            yield f"not seen since {seen}: {worker.holder}, {tasks(worker.running)} claimed"
