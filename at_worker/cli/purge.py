"""`at-worker purge`: what ended long ago goes."""

import sys
from collections.abc import Mapping
from contextlib import closing

import click

from at_worker import durations
from at_worker.cli.completion import task_types
from at_worker.cli.errors import WrongArgument, asking, settings
from at_worker.cli.output import emit, json_option, say, tasks
from at_worker.cli.progress import progress
from at_worker.config import Settings
from at_worker.config.values import CENTURY
from at_worker.store import purging
from at_worker.store.database import Database
from at_worker.store.purging import FINISHED, Old
from at_worker.store.recovery import DONE

EXAMPLES = """
\b
Examples:
    at-worker purge --older-than 30d --dry-run
    at-worker purge --older-than 12h --status completed --type thumbnail --yes
    at-worker purge --older-than 90d --status completed,cancelled,failed
"""


def _statuses(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    found = tuple(name for value in values for name in value.split(","))
    for name in found:
        if name not in FINISHED:
            raise WrongArgument(
                f"--status: {name!r} is none of {', '.join(FINISHED)}; others are not deleted"
            )
    return found


def _age(_: click.Context, __: click.Parameter, value: str) -> float:
    try:
        return min(durations.seconds(value, "d"), CENTURY)
    except ValueError as error:
        raise WrongArgument(f"--older-than: {error}") from None


@click.command(epilog=EXAMPLES, short_help="Delete tasks that ended long ago.")
@click.option(
    "--older-than",
    "age",
    required=True,
    metavar="AGE",
    callback=_age,
    help="Ended longer ago than that: 12h, 30d; a bare number is days.",
)
@click.option(
    "--status",
    "statuses",
    multiple=True,
    metavar="STATUS,...",
    callback=_statuses,
    help=f"Of {', '.join(FINISHED)}; may be repeated. Without it: {' and '.join(DONE)}.",
)
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="TYPE",
    shell_complete=task_types,
    help="Of this task_type; may be repeated.",
)
@click.option("--dry-run", is_flag=True, help="Only count them.")
@click.option("--yes", is_flag=True, help="Do not ask, on a terminal.")
@json_option
def purge(
    *,
    age: float,
    statuses: tuple[str, ...],
    types: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete tasks that ended longer than AGE ago, with their attempts; never one that is pending or runs.

    It takes small batches, as WORKER_RETENTION does, so that workers go on meanwhile. On a terminal it asks
    first. What was deleted before an interruption stays deleted.
    """
    given = settings()
    old = Old(statuses or DONE, age, types or None)
    with asking(given, needs="at_worker") as session:
        asks = sys.stdin.isatty() and not yes
        counted = purging.count(session, old) if dry_run or asks else None
        if dry_run and counted is not None:
            _tell_count(counted, as_json=as_json)
            return
        if counted is not None:
            _tell_count(counted, err=True)
            click.confirm("Delete them?", abort=True, err=True)
        deleted = _delete(given, old, None if counted is None else sum(counted.values()))
    if as_json:
        emit({"deleted": deleted})
    else:
        say(f"{tasks(deleted)} deleted")


def _tell_count(counted: Mapping[str, int], *, as_json: bool = False, err: bool = False) -> None:
    total = sum(counted.values())
    if as_json:
        emit({"old": total, "by_status": counted})
        return
    parts = ", ".join(f"{status} {count:,}" for status, count in counted.items())
    say(f"that old: {tasks(total)}{f' ({parts})' if parts else ''}", err=err)


def _delete(given: Settings, old: Old, expected: int | None) -> int:
    deleted = 0
    with closing(Database(given)) as database, progress("deleting", expected) as reached:
        database.open()
        try:
            for count in purging.delete(database, old):
                deleted += count
                reached(deleted)
        except KeyboardInterrupt:
            click.echo(f"\n{tasks(deleted)} deleted before the interruption", err=True)
            raise
    return deleted
