"""`at-worker list` and `atq`: which tasks there are."""

from dataclasses import asdict

import click

from at_worker import redact
from at_worker.cli import clock
from at_worker.cli.completion import task_types
from at_worker.cli.errors import asking, settings
from at_worker.cli.output import UNSEEN, emit, json_option, say
from at_worker.cli.table import STYLES, Cell, Column, show
from at_worker.durations import spoken
from at_worker.outcome import Status
from at_worker.store import listing
from at_worker.store.listing import Listed, Wanted
from at_worker.text import visible

EXAMPLES = """
\b
Examples:
    at-worker list
    at-worker list --status failed --type http_callback --limit 5
    at-worker list --all --after '2026-11-27 16:00' --search order-42
    at-worker list --json | jq 'select(.attempts > 1) | .id'
"""
ATQ_EXAMPLE = """
\b
Example:
    at-worker atq
"""
UNFINISHED = (Status.PROCESSING, Status.PENDING, Status.FAILED)

COLUMNS = (
    Column("ID", right=True),
    Column("STATUS"),
    Column("WHEN"),
    Column("TYPE"),
    Column("WHAT", flexible=True),
    Column("NOTE", flexible=True),
)


@click.command("list", epilog=EXAMPLES, short_help="List tasks: running, to come, failed.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice([status.value for status in Status]),
    help="Only these; may be repeated. Without it: processing, pending and failed.",
)
@click.option("--all", "every", is_flag=True, help="Tasks of every status.")
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="TYPE",
    shell_complete=task_types,
    help="Of this task_type; may be repeated.",
)
@click.option("--key", help="With this dedupe_key.")
@click.option(
    "--search", metavar="TEXT", help="With this text in payload, context, key or error, in any case."
)
@click.option(
    "--after", metavar="TIMESPEC", help="Whose execute_at is then or later; as for `at`, also past."
)
@click.option("--before", metavar="TIMESPEC", help="Whose execute_at is earlier.")
@click.option(
    "--limit",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    metavar="N",
    help="At most so many of each status; 0 is no limit.",
)
@json_option
def list_tasks(  # noqa: PLR0913 - its options
    *,
    statuses: tuple[str, ...],
    every: bool,
    types: tuple[str, ...],
    key: str | None,
    search: str | None,
    after: str | None,
    before: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List tasks: what runs, what is to come (the soonest first) and what failed (the latest first).

    WHEN is the time at which a pending task will run, a running one started, and any other ended.
    """
    looks_inside = key is not None or search is not None
    with asking(settings(), needs="at_worker" if looks_inside else "at_monitor") as session:
        now = listing.now(session)
        wanted = Wanted(
            statuses=[*Status] if every else statuses or UNFINISHED,
            limit=limit + 1 if limit else None,
            types=types or None,
            key=key,
            after=clock.read(after, now, past=True) if after else None,
            before=clock.read(before, now, past=True) if before else None,
            text=search,
        )
        found = listing.listed(session, wanted)
    shown = [task for tasks in found.values() for task in tasks[: limit or None]]
    if as_json:
        for task in shown:
            emit(_record(task))
    elif shown:
        show(COLUMNS, map(_row, shown))
    else:
        say("There is no such task.", err=True)
    for status, tasks in found.items():
        if limit and len(tasks) > limit:
            say(f"More than {limit} are {status}; --limit shows more.", err=True)
    if any(task.about is None for task in shown):
        say(UNSEEN, err=True)


@click.command(epilog=ATQ_EXAMPLE, short_help="List what is to come and what runs, as atq(1) does.")
@json_option
def atq(as_json: bool) -> None:
    """List what runs and what is to come, in the form that atq prints: id, tab, time, queue, task_type.

    The queue is the priority, 0 to 9; that of running tasks is =.
    """
    with asking(settings(), needs="at_monitor") as session:
        found = listing.listed(session, Wanted(statuses=[Status.PROCESSING, Status.PENDING]))
    for task in (task for tasks in found.values() for task in tasks):
        queue = "=" if task.status == Status.PROCESSING else str(task.priority)
        if as_json:
            emit(_record(task))
        else:
            click.echo(f"{task.id}\t{clock.as_at(task.execute_at)} {queue} {visible(task.task_type)}")


def _record(task: Listed) -> dict[str, object]:
    told = {name: value for name, value in asdict(task).items() if name != "now"}
    texts = {"about": task.about, "error_message": task.error_message}
    return told | {name: value and redact.text(value) for name, value in texts.items()}


def _row(task: Listed) -> list[str | Cell]:
    match task.status:
        case Status.PENDING:
            when = task.execute_at
        case Status.PROCESSING:
            when = task.started_at or task.updated_at
        case Status.COMPLETED:
            when = task.completed_at or task.updated_at
        case _:
            when = task.updated_at
    return [
        str(task.id),
        Cell(task.status, STYLES.get(task.status, "")),
        clock.short(when),
        task.task_type,
        redact.text(task.about or ""),
        redact.text(_note(task)),
    ]


def _note(task: Listed) -> str:
    parts = []
    late = (task.now - task.execute_at).total_seconds()
    if task.status == Status.PENDING and late > 0:
        parts.append(f"due for {spoken(late)}")
    if task.status == Status.PROCESSING:
        parts.append(f"runs on {task.locked_by}")
    if task.attempts and task.status in UNFINISHED:
        parts.append(f"{task.attempts} of {task.max_attempts} attempts")
    if task.error_message:
        parts.append(task.error_message)
    return "; ".join(parts)
