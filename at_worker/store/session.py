"""What is done over one connection: queries, transactions, announcements."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from typing import Any, LiteralString, Protocol

import psycopg
from psycopg import sql

from at_worker.store import errors
from at_worker.store.connection import Connection
from at_worker.store.errors import MissingTable
from at_worker.store.schema import BESIDE, TABLE

_INDENTATION = re.compile(r"\n +")
_NAMES: Mapping[str, tuple[str, ...]] = {
    "home": (),
    "tasks": (TABLE,),
    **{name: (table,) for name, table in BESIDE.items()},
}
_NAMED = re.compile("{(" + "|".join(_NAMES) + ")}")
_NO_TIMEOUTS = """
SELECT pg_catalog.set_config('statement_timeout', '0', true),
       pg_catalog.set_config('lock_timeout', '0', true),
       pg_catalog.set_config('idle_in_transaction_session_timeout', '0', true)
"""

Row = tuple[Any, ...]
Parameters = Mapping[str, Any]


class Session:
    """One connection at work.

    A query addresses the table as `{tasks}` and those beside it as `{attempts}`, `{paused}` and `{presence}`,
    always with their schema, which `{home}` stands for before views and functions.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._heard: list[str] = []

    def rows(self, query: LiteralString, parameters: Parameters | None = None) -> list[Row]:
        """Run a query about the table and return its rows."""
        schema = self._connection.table_schema()
        return self._connection.execute(addressed(query, schema), parameters or {}).fetchall()

    def stream(self, query: LiteralString, parameters: Parameters | None = None) -> Iterator[Row]:
        """The rows of a query, a thousand at a time, however many and however long it takes."""
        schema = self._connection.table_schema()
        with self._connection.transaction(), self._connection.cursor("at_worker") as cursor:
            self.take_time()
            cursor.itersize = 1000
            cursor.execute(addressed(query, schema), parameters or {})
            yield from cursor

    @contextmanager
    def transaction(self, *, keep: bool = True) -> Iterator[None]:
        """Keep the locks of several statements together; at the end keep what they did, or take it back."""
        with translated(self._connection):
            # Found outside, or the settings that come with it would end with a transaction that fails.
            self._connection.table_schema()
            with self._connection.transaction(force_rollback=not keep):
                # Or what fails is known only when it is too late to part it from the rest.
                self._connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
                yield

    def take_time(self) -> None:
        """Within a transaction that may take as long as it likes: for people, never for a worker."""
        self._connection.deadline = None
        self._connection.execute(_NO_TIMEOUTS)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Within a transaction, take back alone what fails."""
        with translated(self._connection), self._connection.transaction():
            yield

    def listen(self, channel: str) -> None:
        """Hear what is announced on a channel."""
        self._connection.add_notify_handler(lambda notice: self._heard.append(notice.payload))
        with translated(self._connection):
            self._connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))

    def notifications(self) -> list[str]:
        """What was announced since the last call; waits for nothing."""
        # psycopg's own notifies() takes longer to ask than the server to tell.
        connection = self._connection.pgconn
        with translated(self._connection):
            connection.consume_input()
            while notice := connection.notifies():
                self._heard.append(notice.extra.decode())
        heard, self._heard = self._heard, []
        return heard

    def ping(self) -> None:
        """Ask for any answer. Raises Unavailable where none comes."""
        with translated(self._connection):
            self._connection.execute("SELECT 1")

    def probe(self, query: LiteralString, parameters: Parameters) -> None:
        """Run a query whose answer matters less than that one comes. Raises at once what went wrong."""
        with translated(self._connection):
            self.rows(query, parameters)

    def fileno(self) -> int:
        """What becomes readable when the server has something to say."""
        with translated(self._connection):
            return self._connection.fileno()

    def script(self, statements: str) -> None:
        """Run a file of statements as it stands, however long it takes.

        Raises Unusable where what is there does not let it.
        """
        self._connection.deadline = None
        try:
            self._connection.execute(statements.encode())
        except psycopg.Error as error:
            raise errors.of_script(error.sqlstate or "", text_of(error)) from None

    def create_database(self, name: str) -> None:
        """Create a database; its name is quoted, statements of this kind take no parameters."""
        self._connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


class Sessions(Protocol):
    """What lends sessions: the connections of a worker, or the one of a test."""

    def session(self) -> AbstractContextManager[Session]:
        """Lend one. Raises Unavailable, Refused or Unusable for whatever goes wrong meanwhile."""


@lru_cache(maxsize=256)
def addressed(query: LiteralString, schema: str) -> bytes:
    """The statement for this schema.

    Without its indentation, since psycopg parses a statement of more than 4,096 bytes each time anew.
    """

    def address(found: re.Match[str]) -> str:
        return sql.Identifier(schema, *_NAMES[found[1]]).as_string().replace("%", "%%")

    return _NAMED.sub(address, _INDENTATION.sub("\n", query)).encode()


@contextmanager
def translated(connection: Connection) -> Iterator[None]:
    """Turn psycopg's errors into ours; a connection is kept only where values or locks were the cause."""
    try:
        yield
    except psycopg.Error as error:
        state = error.sqlstate or ""
        if not errors.spares_connection(state):
            connection.close()
        raise errors.of_statement(state, text_of(error)) from None
    except MissingTable:
        connection.close()
        raise


def text_of(error: psycopg.Error) -> str:
    """The first line that says something; the details may quote values of rows."""
    text = error.diag.message_primary or str(error) or type(error).__name__
    lines: Sequence[str] = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
