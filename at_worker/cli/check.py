"""`at-worker check`: what would go wrong, found before its hour comes."""

import sys
from collections.abc import Callable, Mapping
from contextlib import closing

import click

from at_worker import redact
from at_worker.cli.errors import Failed, explained, settings
from at_worker.config import LISTEN_OFF
from at_worker.engine.attempts import parse_payload
from at_worker.plugin import AnyExecutor, InvalidPayload, MissingSetting
from at_worker.store import admin, hearing, inspect
from at_worker.store.database import Database
from at_worker.store.errors import Refused, Unavailable, Unusable
from at_worker.text import one_line

LISTED = 50

EXAMPLE = """
\b
Example:
    at-worker check
"""


@click.command(epilog=EXAMPLE, short_help="Find what would go wrong.")
def check() -> None:
    """Tell whether the database, the broker and the mail server answer, and which pending tasks would fail.

    Unless LISTEN_DSN is off, something is announced to see that a worker would hear of rows that become due.

    The broker and the mail server are tried where RABBITMQ_URL and SMTP_HOST are set, and all templates where
    SMTP_TEMPLATES is. Nothing is sent and nothing is changed. The exit code is 1 where something is wrong.
    """
    # The other commands, and so the parent of the workers, do without the libraries of the executors.
    from at_worker.executors.email import Email  # noqa: PLC0415 - others do without it
    from at_worker.executors.rabbitmq import RabbitMQ  # noqa: PLC0415 - others do without it
    from at_worker.executors.registry import executors  # noqa: PLC0415 - others do without it

    servers: dict[str, type[RabbitMQ | Email]] = {"RABBITMQ_URL": RabbitMQ, "SMTP_HOST": Email}
    given = settings()
    with explained(), executors(given) as known:
        database = Database(given)
        fine = reachable = _try("database", lambda: _reach(database, deletes=given.retention is not None))
        if given.listen_dsn == LISTEN_OFF:
            click.echo("--    LISTEN: LISTEN_DSN is off, rows are found by polling")
        elif reachable:
            fine = _try("LISTEN", lambda: _hear(database, Database.to_listen(given))) and fine
        for variable, kind in servers.items():
            if variable not in given.given:
                click.echo(f"--    {kind.__name__}: {variable} is not set, not tried")
                continue
            with closing(kind(given)) as server:
                fine = _try(kind.__name__, server.reach) and fine
        if (directory := given.smtp_templates) is not None:
            fine = _try("e-mail templates", lambda: _compile(directory)) and fine
        if reachable:
            fine = _try("pending tasks", lambda: _validate(database, given.task_types, known)) and fine
    sys.exit(0 if fine else Failed.exit_code)


class _Wrong(Exception):
    """Something is there, and it is wrong."""


def _try(subject: str, attempt: Callable[[], str]) -> bool:
    try:
        _tell(f"ok    {subject}: {attempt()}")
    except (_Wrong, MissingSetting, Unavailable, Unusable, Refused) as error:
        _tell(f"WRONG {subject}: {error}")
    except Exception as error:  # noqa: BLE001 - whatever a server or a library comes up with is the answer
        _tell(f"WRONG {subject}: {one_line(error)}")
    else:
        return True
    return False


def _tell(line: str) -> None:
    click.echo(redact.text(line))


def _reach(database: Database, *, deletes: bool) -> str:
    with database.direct() as session:
        version = admin.schema_version(session)
        missing = admin.missing_privileges(session, delete=deletes)
    if missing:
        raise _Wrong(f"the worker's role lacks {', '.join(missing)}; GRANT it, or grant the role at_worker")
    if version < admin.SCHEMA_VERSION:
        raise _Wrong(f"schema version {version} is not {admin.SCHEMA_VERSION}; at-worker init-db upgrades it")
    return f"{database.name}, schema version {version}"


def _hear(database: Database, listening: Database) -> str:
    if not hearing.arrives(database, listening):
        raise _Wrong(
            f"what is announced in {database.name} is not heard at {listening.name}: LISTEN_DSN has to lead"
            " to the same database without a pooler, or to be off"
        )
    return f"announcements arrive at {listening.name}"


def _compile(directory: str) -> str:
    from at_worker.executors.email.templates import Templates  # noqa: PLC0415 - others do without it

    count, problems = Templates(directory).problems()
    for problem in problems[:LISTED]:
        _tell(f"      {problem}")
    if problems:
        raise _Wrong(f"{len(problems)} of {count} files in {directory} are no templates")
    return f"{count} files in {directory}"


def _validate(database: Database, types: tuple[str, ...] | None, known: Mapping[str, AnyExecutor]) -> str:
    count = wrong = 0
    for row in inspect.pending(database):
        if types is not None and row.type not in types:
            continue
        count += 1
        if problem := _problem(row, known):
            wrong += 1
            if wrong <= LISTED:
                _tell(f"      task {row.id} ({row.type}) would fail: {problem}")
    if wrong:
        more = f", the first {LISTED} are listed" if wrong > LISTED else ""
        raise _Wrong(f"{wrong} of {count} would fail{more}")
    return f"{count}, all of them valid"


def _problem(row: inspect.Pending, known: Mapping[str, AnyExecutor]) -> str | None:
    executor = known.get(row.type)
    if executor is None:
        return f"unknown task_type; this worker knows {', '.join(sorted(known))}"
    try:
        executor.parse(parse_payload(row.payload))
    except (InvalidPayload, MissingSetting) as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - a plug-in may raise anything; the worker would retry it
        return one_line(error)
    return None
