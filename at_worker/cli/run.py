"""`at-worker run`: the worker."""

import logging
import os
import sys
import threading
from contextlib import ExitStack
from dataclasses import replace

import click

from at_worker import app, embedded
from at_worker.cli.errors import explained, settings

EXAMPLES = """
\b
Examples:
    at-worker run
    at-worker run --init-db
    at-worker run --embedded --init-db
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--embedded", "own", is_flag=True, help="Use a PostgreSQL of its own, which ends with the worker."
)
@click.option("--init-db", "init", is_flag=True, help="Create or upgrade the table first.")
def run(own: bool = False, init: bool = False) -> None:
    """Run the worker until SIGTERM or SIGINT."""
    given = settings()
    with explained(), ExitStack() as stack:
        if own:
            dsn = stack.enter_context(embedded.serve(embedded.default_directory()))
            click.echo(f"Insert into scheduled_tasks here:\n\n    psql '{dsn}'\n", err=True)
            given = replace(given, database_url=dsn)
        code = app.run(given, init=init)
    if any(thread.name == "runner" and thread.is_alive() for thread in threading.enumerate()):
        # A task that never returns must not keep the process.
        logging.shutdown()
        os._exit(code)
    sys.exit(code)
