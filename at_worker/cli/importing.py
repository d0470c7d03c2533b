"""`at-worker import`: many tasks at once, from JSON Lines."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import IO

import click

from at_worker.cli.errors import Failed, WrongArgument, asking, explained, settings
from at_worker.cli.linefile import open_lines
from at_worker.cli.lines import BadLine, Checked
from at_worker.cli.output import emit, json_option, say, tasks
from at_worker.cli.privatefile import open_private
from at_worker.cli.progress import progress
from at_worker.store import loading
from at_worker.store.errors import Away
from at_worker.store.loading import NewTask, OnDuplicate
from at_worker.store.session import Session

LISTED = 50

EXAMPLES = """
\b
Examples:
    at-worker import tasks.jsonl
    at-worker import --dry-run tasks.jsonl.gz
    at-worker import --skip-bad --bad-file bad.jsonl tasks.jsonl
    at-worker export | DATABASE_URL=postgresql://at@other/app at-worker import -

\b
A line:
    {"task_type": "http_callback", "payload": {"url": "https://example.org/"},
     "execute_at": "2026-12-24T18:00:00+01:00", "dedupe_key": "order:42"}
"""


@dataclass(frozen=True, slots=True)
class _Plan:
    """How to import: `skips` bad lines instead of taking all back, `writes` at all, `bad_file` or none."""

    on_duplicate: OnDuplicate
    skips: bool
    writes: bool
    bad_file: IO[bytes] | None


@dataclass(slots=True)
class _Report:
    """What became of the lines so far; only the first bad ones are kept."""

    good: int = 0
    taken: int = 0
    bad: int = 0
    listed: list[BadLine] = field(default_factory=list)

    def note(self, bad: Iterable[BadLine], bad_file: IO[bytes] | None) -> None:
        """Count, keep and write down bad lines."""
        for line in bad:
            self.bad += 1
            if len(self.listed) < LISTED:
                self.listed.append(line)
            if bad_file is not None:
                bad_file.write(line.raw + b"\n")


class _TakeBack(Exception):
    """Nothing of the transaction is to be kept."""


@click.command("import", epilog=EXAMPLES, short_help="Insert tasks from a file of JSON Lines.")
@click.argument("file", type=click.Path())
@click.option("--dry-run", is_flag=True, help="Only check the lines; nothing is written to the database.")
@click.option("--skip-bad", is_flag=True, help="Import the good lines although others are bad.")
@click.option("--bad-file", metavar="FILE", type=click.Path(), help="Write the bad lines there, as they are.")
@click.option(
    "--on-duplicate",
    type=click.Choice([mode.value for mode in OnDuplicate]),
    default=OnDuplicate.IGNORE.value,
    show_default=True,
    help="Where a dedupe_key is taken: leave the line out, replace the pending task, or call the line bad.",
)
@click.option("--no-check", is_flag=True, help="Check neither payloads nor types.")
@json_option
def import_tasks(
    *,
    file: str,
    dry_run: bool,
    skip_bad: bool,
    bad_file: str | None,
    on_duplicate: str,
    no_check: bool,
    as_json: bool,
) -> None:
    """Insert a task for each line of FILE, a JSON object; - is standard input. It may be gzipped.

    Keys are task_type, payload, execute_at (ISO 8601 with an offset; default: now), priority, expires_at,
    max_attempts, retry_delays (like ["30 s", "5 min"]), dedupe_key and context; one that is null counts as
    absent. All is one transaction: where a line is bad nothing is imported, the bad lines are listed, and
    the exit code is 1.
    """
    from at_worker.cli.checking import checked  # noqa: PLC0415 - others do without it
    from at_worker.executors.registry import executors  # noqa: PLC0415 - others do without it

    given = settings()
    with ExitStack() as stack:
        source = stack.enter_context(open_lines(file))
        if bad_file and source.is_file(bad_file):
            raise WrongArgument("--bad-file is FILE itself")
        bad = stack.enter_context(open_private(bad_file)) if bad_file else None
        stack.enter_context(explained())
        known = None if no_check else stack.enter_context(executors(given))
        mode = OnDuplicate(on_duplicate)
        needs = "at_worker" if mode is OnDuplicate.REPLACE else "at_producer"
        session = stack.enter_context(asking(given, needs=needs))
        batches = stack.enter_context(closing(checked(source.batches(), given, known)))
        reached = stack.enter_context(progress("importing", source.size))
        plan = _Plan(mode, skips=skip_bad, writes=not dry_run, bad_file=bad)
        report = _import(session, batches, plan, reached)
    _tell(report, plan, as_json=as_json)


def _import(
    session: Session, batches: Iterable[Checked], plan: _Plan, reached: Callable[[int], None]
) -> _Report:
    report = _Report()
    complete = False
    try:
        with session.transaction():
            _load(session, batches, plan, report, reached)
            complete = True
    except _TakeBack:
        pass
    except Away as error:
        if not complete:
            raise
        raise Away(
            f"{error}; this came instead of the answer to the COMMIT: all tasks were imported, or none."
            " Look before you import the file again; those with a dedupe_key are not imported twice"
        ) from None
    return report


def _load(
    session: Session,
    batches: Iterable[Checked],
    plan: _Plan,
    report: _Report,
    reached: Callable[[int], None],
) -> None:
    """Raises _TakeBack where nothing is to be kept."""
    session.take_time()
    for batch in batches:
        _load_batch(session, batch, plan, report)
        reached(batch.end)
    if not plan.writes or (report.bad and not plan.skips):
        raise _TakeBack


def _load_batch(session: Session, batch: Checked, plan: _Plan, report: _Report) -> None:
    # Once nothing will be kept, nothing more is written: the table would only grow.
    if plan.writes and (plan.skips or not (report.bad or batch.bad)):
        loaded = loading.load(session, batch.tasks, plan.on_duplicate)
    else:
        loaded = loading.rehearse(session, batch.tasks)
    report.good += len(batch.tasks) - len(loaded.refused)
    report.taken += loaded.taken
    refused = [_refused(task, reason) for task, reason in loaded.refused]
    report.note(sorted([*batch.bad, *refused], key=lambda line: line.number), plan.bad_file)


def _refused(task: NewTask, reason: str) -> BadLine:
    return BadLine(task.number, task.line.encode(), None, reason)


def _tell(report: _Report, plan: _Plan, *, as_json: bool) -> None:
    kept = plan.writes and (plan.skips or not report.bad)
    imported = report.taken if kept else 0
    duplicates = report.good - report.taken if kept else 0
    if as_json:
        errors = [{"line": line.number, "field": line.field, "error": line.why} for line in report.listed]
        emit({"imported": imported, "duplicates": duplicates, "bad": report.bad, "errors": errors})
    else:
        for line in report.listed:
            say(str(line), err=True)
        if report.bad > LISTED:
            say(f"... and {report.bad - LISTED:,} more bad lines", err=True)
    lines = report.good + report.bad
    if report.bad and not plan.skips:
        raise Failed(f"bad lines: {report.bad:,} of {lines:,}; nothing was imported")
    if as_json:
        return
    if not plan.writes:
        say(f"good lines: {report.good:,} of {lines:,}; nothing was imported, as --dry-run says")
        return
    left_out = {"dedupe_key is taken": duplicates, "bad": report.bad}
    notes = [f"; left out as {why}: {count:,}" for why, count in left_out.items() if count]
    say(f"{tasks(imported)} imported{''.join(notes)}")
