"""`at-worker run-now`: have a worker run a task at once and see what comes of it, or what would be sent."""

import math
import sys
import threading
import time

import click

from at_worker import redact
from at_worker.cli.errors import Failed, WrongArgument, asking, settings
from at_worker.cli.output import emit, json_option, say, say_lines
from at_worker.cli.reason import sentence
from at_worker.cli.rehearsal import rehearse
from at_worker.cli.show import record, shown
from at_worker.config import Settings
from at_worker.durations import seconds
from at_worker.jsontext import render_readable
from at_worker.outcome import Status
from at_worker.store import changes, circumstances, details, listing
from at_worker.store.details import Details
from at_worker.store.errors import Refused
from at_worker.store.session import Session

EXAMPLES = """
\b
Examples:
    at-worker run-now 7 --dry-run
    at-worker run-now 7
    at-worker run-now 7 --wait 30s --json
"""

_ENDED = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)
# Seconds: how often it looks, at first and at most, and when it first says what it waits for.
_FIRST_LOOK, _LONGEST_LOOK = 0.05, 1.0
_FIRST_WORD = 2.0


@click.command("run-now", epilog=EXAMPLES, short_help="Run a task at once, or show what it would send.")
@click.argument("task", metavar="ID", type=click.IntRange(1))
@click.option("--dry-run", is_flag=True, help="Print the request, message or mail; send and change nothing.")
@click.option(
    "--wait",
    metavar="DURATION",
    help="How long to wait for its end, as 30s or 5m; 0 does not wait. [default: until it has ended]",
)
@json_option
def run_now(task: int, dry_run: bool, wait: str | None, as_json: bool) -> None:
    """Make a task due, wait until a worker has run it, and print what came of it.

    It works for pending, failed and cancelled tasks; of one that runs it waits for the end. The exit code is
    0 where the task completed. What --dry-run shows is by this machine's settings, and without secrets.
    """
    given = settings()
    patience = _patience(wait)
    with asking(given, needs="at_worker") as session:
        before = details.details(session, task)
        if before is None:
            raise Failed(f"task {task} is not there")
        if dry_run:
            _show(rehearse(given, before), task, as_json=as_json)
            return
        attempts = _make_due(session, before)
        say(f"job {task} is due now", err=True)
        if patience == 0:
            return
        after = _wait(session, given, task, attempts, patience)
        facts = circumstances.facts(session, task)
    if as_json:
        emit(record(after))
    else:
        say(redact.text(sentence(facts, given.stuck_timeout)) if facts else f"Task {task} is not there.")
        if after.result is not None:
            say_lines(render_readable(shown(after.result)))
    sys.exit(0 if after.status == Status.COMPLETED else Failed.exit_code)


def _show(text: str, task: int, *, as_json: bool) -> None:
    if as_json:
        emit({"id": task, "would_send": text})
    else:
        say_lines(text)


def _patience(wait: str | None) -> float:
    try:
        return math.inf if wait is None else seconds(wait, "s")
    except ValueError as error:
        raise WrongArgument(f"--wait: {error}") from None


def _make_due(session: Session, task: Details) -> int:
    """Make it due, and return how many attempts it has behind it."""
    changed = None
    match Status(task.status):
        case Status.COMPLETED:
            raise Failed(f"task {task.id} is completed; at-worker at schedules another")
        case Status.PROCESSING:
            return task.attempts
        case Status.PENDING:
            changed = changes.reschedule(session, task.id, listing.now(session))
        case Status.FAILED | Status.CANCELLED:
            try:
                changed = changes.retry(session, task.id)
            except Refused as error:
                raise Failed(f"task {task.id} cannot run again: {error}") from None
    if changed is None or not changed.done:
        raise Failed(f"task {task.id} was changed by somebody else at this moment")
    return task.attempts if task.status == Status.PENDING else 0


def _wait(session: Session, given: Settings, task: int, attempts: int, patience: float) -> Details:
    """The task once it has ended, failed once more, or time is over; says meanwhile what it waits for."""
    began = time.monotonic()
    look, word = _FIRST_LOOK, _FIRST_WORD
    while True:
        found = details.details(session, task)
        if found is None:
            raise Failed(f"task {task} was deleted")
        waited = time.monotonic() - began
        if found.status in _ENDED or found.attempts > attempts or waited >= patience:
            return found
        if waited >= word:
            facts = circumstances.facts(session, task)
            if facts is not None:
                say(redact.text(sentence(facts, given.stuck_timeout)), err=True)
            word *= 2
        threading.Event().wait(min(look, word - waited, patience - waited))
        look = min(look * 2, _LONGEST_LOOK)
