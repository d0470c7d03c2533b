"""`at-worker why`: one sentence about a task."""

import click

from at_worker import redact
from at_worker.cli.errors import Failed, asking, settings
from at_worker.cli.output import emit, json_option, say
from at_worker.cli.reason import sentence
from at_worker.store import circumstances

EXAMPLE = """
\b
Example:
    at-worker why 7
"""


@click.command(epilog=EXAMPLE, short_help="Say in one sentence why a task has not run.")
@click.argument("task", metavar="ID", type=click.IntRange(1))
@json_option
def why(task: int, as_json: bool) -> None:
    """Say in one sentence why a task has not run yet, where it runs, or what became of it.

    When a stuck task is taken over depends on WORKER_STUCK_TIMEOUT: give it here as the workers have it.
    """
    given = settings()
    with asking(given, needs="at_monitor") as session:
        facts = circumstances.facts(session, task)
    if facts is None:
        raise Failed(f"task {task} is not there")
    told = redact.text(sentence(facts, given.stuck_timeout))
    if as_json:
        emit({"id": task, "status": facts.status, "why": told})
    else:
        say(told)
