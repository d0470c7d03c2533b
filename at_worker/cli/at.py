"""`at-worker at`: schedule a task, as people who know at(1) do."""

from datetime import datetime
from typing import Any

import click

from at_worker.cli import clock, values
from at_worker.cli.completion import task_types
from at_worker.cli.errors import Failed, WrongArgument, asking, settings
from at_worker.cli.output import emit, json_option, say
from at_worker.cli.what import check, what
from at_worker.jsontext import Json
from at_worker.store import changes, circumstances, listing
from at_worker.store.changes import Order
from at_worker.store.errors import Refused
from at_worker.store.session import Session

EXAMPLES = """
\b
Examples:
    at-worker at teatime tomorrow --http https://example.org/paid --data '{"order": 42}'
    at-worker at now + 90 minutes --rabbitmq orders --data @order.json --key order-42
    uptime | at-worker at noon --email ann@example.org --subject Uptime --body -
    at-worker at -t 202612241800 --type thumbnail --payload '{"path": "/srv/a.png"}' --json

\b
TIMESPEC is that of at(1), or ISO 8601, in the time zone of TZ or the system; README.md has all its forms.
Now is the database's now. What a worker would refuse is refused here, unless --no-check.
Anybody on this machine can read the command line: give secrets as @FILE, as -, or by their names.
"""

_WHAT = (
    click.option("--http", metavar="URL", help="Call this URL."),
    click.option("--rabbitmq", metavar="QUEUE", help="Send a message to this queue."),
    click.option("--exchange", metavar="NAME", help="Send a message to this exchange."),
    click.option("--routing-key", metavar="KEY", help="With --exchange."),
    click.option("--email", metavar="TO", multiple=True, help="Mail this address; may be repeated."),
    click.option(
        "--type",
        "task_type",
        metavar="TYPE",
        shell_complete=task_types,
        help="A task of any task_type, also of a plug-in.",
    ),
    click.option(
        "--payload",
        metavar="JSON|@FILE|-",
        callback=values.json_value,
        help="The whole payload, with --type.",
    ),
    click.option(
        "--data",
        metavar="JSON|@FILE|-",
        callback=values.json_value,
        help="What a callback or a message carries.",
    ),
    click.option(
        "--text", metavar="TEXT|-", callback=values.text_value, help="The same, as it stands and not as JSON."
    ),
    click.option("--method", help="Of the callback; POST by default."),
    click.option(
        "--header",
        "headers",
        metavar="'NAME: VALUE'",
        multiple=True,
        callback=values.pairs,
        help="Of the callback, message or mail; may be repeated.",
    ),
    click.option("--timeout", type=float, metavar="SECONDS", help="For the whole callback."),
    click.option("--bearer", metavar="NAME", help="Send the token that the workers know as AT_SECRET_NAME."),
    click.option("--sign", metavar="NAME", help="Sign the callback with AT_SECRET_NAME of the workers."),
    click.option("--subject", help="Of the mail."),
    click.option("--body", metavar="TEXT|-", callback=values.text_value, help="Of the mail."),
    click.option(
        "--attach",
        "attachments",
        metavar="FILE",
        multiple=True,
        callback=values.attachments,
        help="Goes with the mail; may be repeated.",
    ),
    click.option(
        "--set",
        "members",
        metavar="NAME=VALUE",
        multiple=True,
        callback=values.members,
        help="Any other key of the payload; VALUE is JSON, @FILE or else a text. May be repeated.",
    ),
)
_COLUMNS = (
    click.option("--key", help="The dedupe_key: no two tasks with the same one."),
    click.option(
        "--on-duplicate",
        type=click.Choice(["error", "ignore", "replace"]),
        default="error",
        show_default=True,
        help="What becomes of it where a task has the key already.",
    ),
    click.option("--priority", type=click.IntRange(0, 9), metavar="0-9", help="A higher one starts first."),
    click.option("--expires", metavar="TIMESPEC", help="Never start later than this."),
    click.option("--max-attempts", type=click.IntRange(1, 2**31 - 1), metavar="N", help="1 is at most once."),
    click.option(
        "--retry-delays", metavar="30s,2m,...", callback=values.retry_delays, help="Before attempt 2, 3, ..."
    ),
    click.option(
        "--context",
        metavar="JSON|@FILE|-",
        callback=values.json_value,
        help="Your own notes, which receivers do not see.",
    ),
)


def _options(command: Any) -> Any:  # noqa: ANN401 - click's own decorators take and give anything
    for option in reversed((*_WHAT, *_COLUMNS)):
        command = option(command)
    return command


@click.command(epilog=EXAMPLES, short_help="Schedule a callback, a message, a mail, or any task.")
@clock.words_argument
@clock.posix_t_option
@_options
@click.option("--no-check", is_flag=True, help="Insert also what this machine's settings would refuse.")
@json_option
def at(  # noqa: PLR0913 - its options
    *,
    timespec: tuple[str, ...],
    posix_t: str | None,
    key: str | None,
    on_duplicate: str,
    priority: int | None,
    expires: str | None,
    max_attempts: int | None,
    retry_delays: list[Json] | None,
    context: Json,
    no_check: bool,
    as_json: bool,
    **described: Any,  # noqa: ANN401 - what click has made of _WHAT
) -> None:
    """Schedule a task, and say its id and its time as at does: on stderr, or with --json on stdout."""
    wanted = what(described)
    given = settings()
    with asking(given, needs="at_producer") as session:
        if not no_check:
            check(given, wanted, circumstances.taken_types(session))
        now = listing.now(session)
        execute_at = clock.read_words(timespec, posix_t, now)
        expires_at = None if expires is None else clock.read(expires, now)
        if expires_at is not None and expires_at <= max(execute_at, now):
            raise WrongArgument(f"--expires: {clock.as_at(expires_at)} is not after the task's own time")
        options: dict[str, Json] = {
            "dedupe_key": key,
            "on_duplicate": "replace" if on_duplicate == "replace" else "error",
            "priority": priority,
            "expires_at": None if expires_at is None else expires_at.isoformat(),
            "max_attempts": max_attempts,
            "retry_delays": retry_delays,
            "context": context,
        }
        order = Order(wanted.task_type, wanted.payload, execute_at, options)
        task, is_new = _scheduled(session, order, key, ignore=on_duplicate == "ignore")
    _tell(task, execute_at if is_new else None, key, as_json=as_json)


def _scheduled(session: Session, order: Order, key: str | None, *, ignore: bool) -> tuple[int, bool]:
    """The id, and whether that task is the one that was ordered."""
    try:
        return changes.schedule(session, order), True
    except Refused as error:
        taken = changes.holder(session, key) if key is not None else None
        if taken is None:
            raise
        if not ignore:
            raise Failed(f"{error}; --on-duplicate says what else could become of it") from None
        return taken, False


def _tell(task: int, execute_at: datetime | None, key: str | None, *, as_json: bool) -> None:
    if as_json:
        told: dict[str, object] = {"id": task, "is_new": execute_at is not None}
        emit(told if execute_at is None else {**told, "execute_at": execute_at})
    elif execute_at is None:
        say(f"job {task} has the key {key} already and stays as it is", err=True)
    else:
        say(f"job {task} at {clock.as_at(execute_at)}", err=True)
