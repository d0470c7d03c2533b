"""`at-worker cancel`, `atrm`, `reschedule` and `retry`: change tasks that are there."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import click

from at_worker.cli import clock
from at_worker.cli.errors import Failed, asking, settings
from at_worker.cli.output import emit, json_option, say
from at_worker.outcome import Status
from at_worker.store import changes, listing
from at_worker.store.changes import Change
from at_worker.store.errors import Refused
from at_worker.store.session import Session
from at_worker.text import visible

CANCEL_EXAMPLE = """
\b
Examples:
    at-worker cancel 7
    at-worker cancel 7 8 9
"""
ATRM_EXAMPLE = """
\b
Example:
    at-worker atrm 7
"""
RETRY_EXAMPLE = """
\b
Examples:
    at-worker retry 7
    at-worker list --status failed --limit 0 --json | jq .id | xargs at-worker retry
"""
RESCHEDULE_EXAMPLE = """
\b
Examples:
    at-worker reschedule 7 now + 3 hours
    at-worker reschedule 7 -t 202612241800
"""


@dataclass(frozen=True, slots=True)
class _Wish:
    """A change that is possible in some states; `done` says that it was made."""

    change: Callable[[Session, int], Change | None]
    possible: tuple[Status, ...]
    done: str


_CANCEL = _Wish(changes.cancel, (Status.PENDING, Status.PROCESSING), "cancelled")
_RETRY = _Wish(changes.retry, (Status.FAILED, Status.CANCELLED), "is due now")

_ids = click.argument("tasks", metavar="ID...", nargs=-1, required=True, type=click.IntRange(1))


@click.command(epilog=CANCEL_EXAMPLE, short_help="Take tasks back.")
@_ids
@json_option
def cancel(tasks: tuple[int, ...], as_json: bool) -> None:
    """Take pending tasks back; the result of one that runs is thrown away."""
    sys.exit(_each(_CANCEL, tasks, as_json=as_json))


@click.command(epilog=ATRM_EXAMPLE, short_help="Take tasks back, silently as atrm(1) does.")
@_ids
def atrm(tasks: tuple[int, ...]) -> None:
    """Take tasks back as `at-worker cancel` does, without a word where that works."""
    sys.exit(_each(_CANCEL, tasks, silent=True))


@click.command(epilog=RETRY_EXAMPLE, short_help="Run failed and cancelled tasks again.")
@_ids
@json_option
def retry(tasks: tuple[int, ...], as_json: bool) -> None:
    """Run failed and cancelled tasks again now, with all their attempts anew."""
    sys.exit(_each(_RETRY, tasks, as_json=as_json))


@click.command(epilog=RESCHEDULE_EXAMPLE, short_help="Move a pending task to another time.")
@click.argument("task", metavar="ID", type=click.IntRange(1))
@clock.words_argument
@clock.posix_t_option
@json_option
def reschedule(task: int, timespec: tuple[str, ...], posix_t: str | None, as_json: bool) -> None:
    """Move a pending task, also one that waits for its next attempt."""
    with asking(settings(), needs="at_worker") as session:
        execute_at = clock.read_words(timespec, posix_t, listing.now(session))
        changed = changes.reschedule(session, task, execute_at)
    if problem := _problem(changed, (Status.PENDING,)):
        raise Failed(f"task {task} {problem}")
    if as_json:
        emit({"id": task, "execute_at": execute_at})
    else:
        say(f"job {task} at {clock.as_at(execute_at)}", err=True)


def _each(wish: _Wish, tasks: tuple[int, ...], *, as_json: bool = False, silent: bool = False) -> int:
    """Change one after the other, and tell what became of each; the exit code."""
    code = 0
    with asking(settings(), needs="at_worker") as session:
        for task in tasks:
            try:
                changed = wish.change(session, task)
                problem = _problem(changed, wish.possible)
            except Refused as error:
                changed, problem = None, f"cannot be changed: {error}"
            if problem:
                code = Failed.exit_code
                click.echo(f"Error: task {task} {visible(problem)}", err=True)
            if as_json:
                emit({"id": task, "was": changed and changed.status, "done": not problem})
            elif not problem and not silent:
                say(f"job {task} {wish.done}", err=True)
    return code


def _problem(changed: Change | None, possible: tuple[Status, ...]) -> str | None:
    if changed is None:
        return "is not there"
    if changed.done:
        return None
    if changed.status in possible:
        return "was changed by somebody else at this moment"
    return f"is {changed.status}, not {' or '.join(possible)}"
