"""`at-worker show`: everything about one task."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

import click

from at_worker import jsontext, redact
from at_worker.cli import clock
from at_worker.cli.errors import Failed, asking, settings
from at_worker.cli.output import UNSEEN, emit, json_option, say, say_lines
from at_worker.cli.reason import sentence
from at_worker.cli.table import STYLES, Cell, Column, show
from at_worker.durations import spoken
from at_worker.jsontext import Json
from at_worker.store import circumstances, details
from at_worker.store.details import Details, PastAttempt

EXAMPLES = """
\b
Examples:
    at-worker show 7
    at-worker show 7 --json | jq .payload
"""

_TEXTS = ("payload", "context", "result")
_ATTEMPTS = (
    Column("ATTEMPT", right=True),
    Column("OUTCOME"),
    Column("STARTED"),
    Column("TOOK", right=True),
    Column("WORKER"),
    Column("ERROR", flexible=True),
)


@click.command("show", epilog=EXAMPLES, short_help="Show everything about one task.")
@click.argument("task", metavar="ID", type=click.IntRange(1))
@json_option
def show_task(task: int, as_json: bool) -> None:
    """Show a task: its row, why it is as it is, what came back, and the attempts that did not succeed.

    What names say is secret is shown as ***.
    """
    given = settings()
    with asking(given, needs="at_monitor") as session:
        found = details.details(session, task)
        facts = circumstances.facts(session, task)
        past = details.past_attempts(session, task)
    if found is None or facts is None:
        raise Failed(f"task {task} is not there")
    if as_json:
        emit({**record(found), "past_attempts": [_past_record(attempt) for attempt in past]})
        return
    say(redact.text(sentence(facts, given.stuck_timeout)))
    say("")
    show((Column(""), Column("", flexible=True)), _lines(found))
    for name in _TEXTS:
        value = shown(getattr(found, name))
        if value not in (None, {}):
            say_lines(f"\n{name}:")
            say_lines(jsontext.render_readable(value))
    if past:
        say("")
        show(_ATTEMPTS, map(_past_row, past))
    if found.payload is None:
        say(UNSEEN, err=True)


def record(found: Details) -> dict[str, object]:
    """A task for scripts, without secrets."""
    told: dict[str, object] = asdict(found)
    told |= {name: shown(getattr(found, name)) for name in _TEXTS}
    return told | {"error_message": found.error_message and redact.text(found.error_message)}


def shown(text: str | None) -> Json:
    """The value of a JSON text as people may see it; what cannot be parsed is shown as it stands."""
    if text is None:
        return None
    try:
        return redact.payload(jsontext.parse(text))
    except ValueError:
        return redact.text(text)


def _lines(found: Details) -> Sequence[Sequence[str | Cell]]:
    told = {name: value for name, value in asdict(found).items() if value is not None and name not in _TEXTS}
    return [
        (Cell(name, "bold"), Cell(_told(value), STYLES.get(str(value), ""))) for name, value in told.items()
    ]


def _told(value: object) -> str:
    match value:
        case datetime():
            return clock.full(value)
        case list():
            return ", ".join(spoken(delay.total_seconds()) for delay in value)
        case _:
            return redact.text(str(value))


def _past_record(attempt: PastAttempt) -> dict[str, object]:
    told: dict[str, object] = asdict(attempt)
    error = attempt.error_message and redact.text(attempt.error_message)
    return {**told, "error_message": error, "result": shown(attempt.result)}


def _past_row(attempt: PastAttempt) -> Sequence[str]:
    started = attempt.started_at
    return (
        str(attempt.attempt),
        attempt.outcome,
        clock.short(started) if started else "",
        spoken((attempt.ended_at - started).total_seconds()) if started else "",
        attempt.worker or "",
        redact.text(attempt.error_message or ""),
    )
