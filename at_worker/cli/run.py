"""`at-worker run`: the worker."""

import sys
from contextlib import ExitStack
from dataclasses import replace

import click

from at_worker import embedded, supervisor
from at_worker.cli.errors import explained, settings

MOST_PROCESSES = 256

EXAMPLES = """
\b
Examples:
    at-worker run
    at-worker run --init-db
    at-worker run --processes 4
    at-worker run --embedded --init-db
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--embedded", "own", is_flag=True, help="Use a PostgreSQL of its own, which ends with the worker."
)
@click.option("--init-db", "init", is_flag=True, help="Create or upgrade the table first.")
@click.option(
    "--processes",
    type=click.IntRange(1, MOST_PROCESSES),
    default=1,
    show_default=True,
    metavar="N",
    help="Worker processes under one parent; one for each core.",
)
def run(own: bool = False, init: bool = False, processes: int = 1) -> None:
    """Run the worker until SIGTERM or SIGINT."""
    given = settings()
    environment = {}
    with explained(), ExitStack() as stack:
        if own:
            dsn = stack.enter_context(embedded.serve(embedded.default_directory()))
            click.echo(f"Insert into scheduled_tasks here:\n\n    psql '{dsn}'\n", err=True)
            given = replace(given, database_url=dsn)
            environment["DATABASE_URL"] = dsn
        code = supervisor.run(given, processes, init=init, environment=environment)
    sys.exit(code)
