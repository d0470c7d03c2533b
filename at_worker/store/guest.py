"""The store on a connection of a test's own, inside its transaction: no other connection sees its rows."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import psycopg

from at_worker.store.connection import Connection
from at_worker.store.session import Row, Session

Lent: TypeAlias = psycopg.Connection[Any] | psycopg.AsyncConnection[Any]

# Time passes for what is pending: until the next of it is due, else for the seconds that are left. now() may
# be long ago, for it is the start of the transaction. Days of an interval have 24 hours in UTC alone.
ADVANCE = """
WITH next AS MATERIALIZED (
    SELECT min(t.execute_at) - now() AS wait FROM {tasks} t
     WHERE t.status = 'pending' AND t.execute_at > now()
       AND t.execute_at <= clock_timestamp() + %(left)s * interval '1 second'
       AND (%(types)s::text[] IS NULL OR t.task_type = ANY (%(types)s::text[]))
), step AS MATERIALIZED (
    SELECT wait IS NOT NULL AS due, coalesce(wait, greatest(%(left)s, 0) * interval '1 second') AS length
      FROM next
), moved AS (
    UPDATE {tasks} t
       SET execute_at = (t.execute_at AT TIME ZONE 'UTC' - step.length) AT TIME ZONE 'UTC',
           expires_at = (t.expires_at AT TIME ZONE 'UTC' - step.length) AT TIME ZONE 'UTC',
           original_execute_at = coalesce(t.original_execute_at, t.execute_at), updated_at = now()
      FROM step
     WHERE t.status = 'pending' AND step.length > interval '0'
       AND (%(types)s::text[] IS NULL OR t.task_type = ANY (%(types)s::text[]))
)
SELECT due, date_part('epoch', length) FROM step
"""

LOOK = """
SELECT t.task_type, t.status, t.attempts, t.error_message, t.result::text FROM {tasks} t WHERE t.id = %(id)s
"""


class _Guest(Connection):
    """A second object for the caller's connection: with its transaction, without what else he set it to."""

    @classmethod
    def at(cls, lent: Lent) -> Self:
        handlers = lent.pgconn.notice_handler, lent.pgconn.notify_handler
        guest = cls(lent.pgconn)
        # They stay the caller's, like all that follows.
        lent.pgconn.notice_handler, lent.pgconn.notify_handler = handlers
        guest._autocommit = lent.autocommit
        guest.prepare_threshold = None
        return guest

    def close(self) -> None:
        """It is the caller's to close."""

    def __del__(self, *_: object) -> None:
        """The same."""

    def _prepare_session(self) -> None:
        """It is the caller's session."""

    def _open_path(self, schema: str) -> None:
        """The same."""


class Host:
    """Lends a connection of the caller's in the place of a `Database`. Raises MissingTable or Unusable.

    What fails is taken back alone. Where the connection commits by itself, so does each session; where it
    does not, all stays in the transaction that is open, or that this opens.
    """

    def __init__(self, lent: Lent) -> None:
        connection = _Guest.at(lent)
        # Opens the transaction, if there has to be one.
        connection.table_schema()
        self._session = Session(connection)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Lend the connection. Raises Unavailable, Refused or Unusable for whatever goes wrong meanwhile."""
        with self._session.savepoint():
            yield self._session


@contextmanager
def host(database: Lent | str) -> Iterator[Host]:
    """The host of a connection, or of a new one that commits by itself to the database of this address."""
    if not isinstance(database, str):
        yield Host(database)
        return
    with psycopg.connect(database, autocommit=True) as connection:
        yield Host(connection)


@dataclass(frozen=True, slots=True)
class Advance:
    """So many seconds passed; `due`: now something is due."""

    due: bool
    seconds: float


def advance(host: Host, left: float, types: Sequence[str] | None) -> Advance:
    """Let time pass for the pending tasks of these types, `left` seconds at most."""
    with host.session() as session:
        (row,) = session.rows(ADVANCE, {"left": left, "types": None if types is None else list(types)})
    return Advance(*row)


def look(host: Host, task_id: int) -> Row | None:
    """Type, status, attempts, error and result (JSON text) of a task; None where it is gone."""
    with host.session() as session:
        return next(iter(session.rows(LOOK, {"id": task_id})), None)
