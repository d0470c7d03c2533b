"""`at-worker pause` and `resume`: a type of tasks that nobody is to start just now."""

from dataclasses import asdict

import click

from at_worker.cli import clock
from at_worker.cli.completion import task_types
from at_worker.cli.errors import WrongArgument, asking, settings
from at_worker.cli.output import emit, json_option, say
from at_worker.cli.table import Column, show
from at_worker.store import pauses
from at_worker.store.pauses import MOST_DUE

PAUSE_EXAMPLES = """
\b
Examples:
    at-worker pause email --reason 'the mail server moves'
    at-worker pause
"""
RESUME_EXAMPLE = """
\b
Example:
    at-worker resume email
"""
COLUMNS = (
    Column("TYPE"),
    Column("SINCE"),
    Column("BY"),
    Column("DUE", right=True),
    Column("REASON", flexible=True),
)


@click.command(epilog=PAUSE_EXAMPLES, short_help="Let no task of a type start; list what is paused.")
@click.argument("task_type", metavar="[TYPE]", required=False, shell_complete=task_types)
@click.option("--reason", metavar="TEXT", help="Why, for those who wonder.")
@json_option
def pause(*, task_type: str | None, reason: str | None, as_json: bool) -> None:
    """Let no worker start a task of TYPE until it is resumed. Those that run go on; a new one waits too.

    Without TYPE it lists what is paused, and how many tasks of each type are due.
    """
    if task_type is None:
        if reason is not None:
            raise WrongArgument("--reason goes with a TYPE")
        _list(as_json=as_json)
        return
    if not task_type:
        raise WrongArgument("TYPE is empty")
    with asking(settings(), needs="at_worker") as session:
        changed = pauses.pause(session, task_type, reason)
        known = pauses.is_known(session, task_type)
    if as_json:
        emit({"task_type": task_type, "changed": changed})
    else:
        say(f"{task_type} is paused" if changed else f"{task_type} was paused already and stays so")
    if not known:
        say(
            f"No pending task is of the type {task_type}, and no worker runs it: is it spelled right?",
            err=True,
        )


@click.command(epilog=RESUME_EXAMPLE, short_help="Let the tasks of a paused type start again.")
@click.argument("task_type", metavar="TYPE", shell_complete=task_types)
@json_option
def resume(*, task_type: str, as_json: bool) -> None:
    """Let the tasks of a paused TYPE start again; what is due starts at once."""
    with asking(settings(), needs="at_worker") as session:
        changed = pauses.resume(session, task_type)
    if as_json:
        emit({"task_type": task_type, "changed": changed})
    else:
        say(f"{task_type} is resumed" if changed else f"{task_type} was not paused")


def _list(*, as_json: bool) -> None:
    with asking(settings(), needs="at_monitor") as session:
        found = pauses.paused(session)
    if as_json:
        for paused in found:
            emit(asdict(paused))
    elif found:
        show(
            COLUMNS,
            (
                (
                    paused.task_type,
                    clock.short(paused.paused_at),
                    paused.paused_by,
                    f"{paused.due:,}{'+' if paused.due == MOST_DUE else ''}",
                    paused.reason or "",
                )
                for paused in found
            ),
        )
    else:
        say("Nothing is paused.", err=True)
