"""`at-worker export`: tasks as JSON Lines."""

import sys
from collections.abc import Generator
from contextlib import ExitStack, closing

import click

from at_worker.cli import clock
from at_worker.cli.completion import task_types
from at_worker.cli.errors import asking, settings
from at_worker.cli.output import inert, say, tasks
from at_worker.cli.privatefile import open_private
from at_worker.cli.progress import progress
from at_worker.outcome import Status
from at_worker.store import exporting, listing
from at_worker.store.exporting import Choice
from at_worker.store.session import Session

# Telling each costs more than finding it.
STEP = 1000

EXAMPLES = """
\b
Examples:
    at-worker export --output tasks.jsonl.gz
    at-worker export --type email --before '2027-01-01 00:00' | wc -l
    at-worker export --status failed --all-columns | jq -r .error_message
    at-worker export | DATABASE_URL=postgresql://at@other/app at-worker import -
"""


@click.command(epilog=EXAMPLES, short_help="Write tasks as JSON Lines, to import elsewhere.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice([status.value for status in Status]),
    help="Only these; may be repeated. Without it: pending, for what is imported will run.",
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
@click.option(
    "--after", metavar="TIMESPEC", help="Whose execute_at is then or later; as for `at`, also past."
)
@click.option("--before", metavar="TIMESPEC", help="Whose execute_at is earlier.")
@click.option("--all-columns", is_flag=True, help="Also what the workers wrote; `import` does not take that.")
@click.option(
    "-o", "--output", metavar="FILE", type=click.Path(), help="Write there, gzipped where it ends in .gz."
)
def export(
    *,
    statuses: tuple[str, ...],
    every: bool,
    types: tuple[str, ...],
    after: str | None,
    before: str | None,
    all_columns: bool,
    output: str | None,
) -> None:
    """Write a JSON object for each task, a line each, in the order of ids and as of one instant.

    The keys are those that `import` reads, or with --all-columns all columns. Nothing is changed. Payloads
    are written as they are, with the secrets in them: only the owner may read FILE.
    """
    with ExitStack() as stack:
        session = stack.enter_context(asking(settings(), needs="at_worker"))
        now = listing.now(session)
        choice = Choice(
            statuses=list(Status) if every else statuses or [Status.PENDING],
            types=types or None,
            after=clock.read(after, now, past=True) if after else None,
            before=clock.read(before, now, past=True) if before else None,
        )
        file = stack.enter_context(open_private(output)) if output else sys.stdout.buffer
        found = stack.enter_context(closing(_lines(session, choice, all_columns=all_columns)))
        reached = stack.enter_context(progress("exporting", None)) if output else None
        count = 0
        for count, line in enumerate(found, 1):
            file.write(line + b"\n")
            if reached and count % STEP == 0:
                reached(count)
        file.flush()
    if output:
        say(f"{tasks(count)} written to {output}", err=True)


def _lines(session: Session, choice: Choice, *, all_columns: bool) -> Generator[bytes]:
    for line in exporting.lines(session, choice, whole=all_columns):
        yield inert(line).encode()
