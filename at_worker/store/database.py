"""The connections of a process to PostgreSQL, and sessions on them."""

import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from typing import Any, LiteralString, Protocol

import psycopg
from psycopg import conninfo, sql
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from at_worker.config import ConfigError, Settings
from at_worker.store import errors
from at_worker.store.connection import Connection
from at_worker.store.errors import Away, Full, MissingTable, Unavailable
from at_worker.store.schema import BESIDE, TABLE

_PATIENCE = 3.0
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
Observer = Callable[["Away | None"], None]
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
        with _translated(self._connection):
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
        with _translated(self._connection), self._connection.transaction():
            yield

    def listen(self, channel: str) -> None:
        """Hear what is announced on a channel."""
        self._connection.add_notify_handler(lambda notice: self._heard.append(notice.payload))
        with _translated(self._connection):
            self._connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))

    def notifications(self) -> list[str]:
        """What was announced since the last call; waits for nothing."""
        # psycopg's own notifies() takes longer to ask than the server to tell.
        connection = self._connection.pgconn
        with _translated(self._connection):
            connection.consume_input()
            while notice := connection.notifies():
                self._heard.append(notice.extra.decode())
        heard, self._heard = self._heard, []
        return heard

    def ping(self) -> None:
        """Ask for any answer. Raises Unavailable where none comes."""
        with _translated(self._connection):
            self._connection.execute("SELECT 1")

    def probe(self, query: LiteralString, parameters: Parameters) -> None:
        """Run a query whose answer matters less than that one comes. Raises at once what went wrong."""
        with _translated(self._connection):
            self.rows(query, parameters)

    def fileno(self) -> int:
        """What becomes readable when the server has something to say."""
        with _translated(self._connection):
            return self._connection.fileno()

    def script(self, statements: str) -> None:
        """Run a file of statements as it stands, however long it takes.

        Raises Unusable where what is there does not let it.
        """
        self._connection.deadline = None
        try:
            self._connection.execute(statements.encode())
        except psycopg.Error as error:
            raise errors.of_script(error.sqlstate or "", _text(error)) from None

    def create_database(self, name: str) -> None:
        """Create a database; its name is quoted, statements of this kind take no parameters."""
        self._connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


class Sessions(Protocol):
    """What lends sessions: the connections of a worker, or the one of a test."""

    def session(self) -> AbstractContextManager[Session]:
        """Lend one. Raises Unavailable, Refused or Unusable for whatever goes wrong meanwhile."""


class Database:
    """The connections of one process: a handful, opened when needed, replaced when broken."""

    def __init__(self, settings: Settings, observe: Observer = lambda _: None, connections: int = 5) -> None:
        self._conninfo = _conninfo(settings)
        self._deadline = settings.statement_deadline
        self._observe = observe
        self._reached = False
        self._reaching = threading.Lock()
        # The pool's own attempts to reconnect are silent and slow down; ours are loops that report.
        logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
        self._pool = ConnectionPool(
            self._conninfo,
            connection_class=Connection,
            kwargs={"autocommit": True, "prepare_threshold": None},
            min_size=0,
            max_size=connections,
            configure=self._configure,
            timeout=_PATIENCE,
            reconnect_timeout=0,
            num_workers=2,
            open=False,
        )

    @property
    def name(self) -> str:
        """The database as people name it: host:port/name, without credentials."""
        given = conninfo.conninfo_to_dict(self._conninfo)
        return f"{given.get('host', 'localhost')}:{given.get('port', 5432)}/{given.get('dbname', '')}"

    @property
    def database_name(self) -> str:
        return str(conninfo.conninfo_to_dict(self._conninfo).get("dbname") or "")

    def open(self) -> None:
        """Start to serve connections; none is made before it is needed."""
        self._pool.open()

    def close(self) -> None:
        """Close the connections that are not at work."""
        self._pool.close(timeout=1)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Lend a connection. Raises Unavailable, Refused or Unusable for whatever goes wrong meanwhile.

        The observer hears of every success (None) and of every Away.
        """
        try:
            with self._lent() as connection, _translated(connection):
                yield Session(connection)
        except Away as error:
            self._reached = False
            self._observe(error)
            raise
        self._reached = True
        self._observe(None)

    @contextmanager
    def _lent(self) -> Iterator[Connection]:
        if not self._reached:
            self._reach()
        try:
            lent = self._pool.getconn()
        except (PoolClosed, PoolTimeout) as error:
            # Where the server lets in no more, those that are open are no outage: they are shared.
            shared = isinstance(error, PoolTimeout) and self._pool.get_stats()["pool_size"]
            raise (Unavailable if shared else Away)(f"no connection to {self.name} became free") from None
        try:
            yield lent
        finally:
            self._pool.putconn(lent)

    def _reach(self) -> None:
        """One at a time: where connections are scarce, those who ask together keep each other out."""
        with self._reaching:
            if self._reached:
                return
            # A failure tells its reason here and at once; the pool would wait, and would not tell.
            try:
                with self.direct():
                    pass
            except Full:
                if not self._pool.get_stats()["pool_size"]:
                    raise
            else:
                # Those that broke meanwhile would each cost a statement, and half-open ones its deadline.
                self._pool.drain()
            self._reached = True

    @contextmanager
    def direct(self, dbname: str | None = None) -> Iterator[Session]:
        """A connection of its own, made now, so that a failure tells the reason. Raises as `session` does."""
        try:
            connection = Connection.connect(self._conninfo, autocommit=True, dbname=dbname)
        except psycopg.Error as error:
            raise errors.of_login(_text(error), self.name, self.database_name) from None
        self._configure(connection)
        with connection, _translated(connection):
            yield Session(connection)

    def _configure(self, connection: Connection) -> None:
        connection.deadline = self._deadline


@lru_cache(maxsize=256)
def addressed(query: LiteralString, schema: str) -> bytes:
    """The statement for this schema.

    Without its indentation, since psycopg parses a statement of more than 4,096 bytes each time anew.
    """

    def address(found: re.Match[str]) -> str:
        return sql.Identifier(schema, *_NAMES[found[1]]).as_string().replace("%", "%%")

    return _NAMED.sub(address, _INDENTATION.sub("\n", query)).encode()


@contextmanager
def _translated(connection: Connection) -> Iterator[None]:
    """Turn psycopg's errors into ours; a connection is kept only where values or locks were the cause."""
    try:
        yield
    except psycopg.Error as error:
        state = error.sqlstate or ""
        if not errors.spares_connection(state):
            connection.close()
        raise errors.of_statement(state, _text(error)) from None
    except MissingTable:
        connection.close()
        raise


def _text(error: psycopg.Error) -> str:
    """The first line that says something; the details may quote values of rows."""
    text = error.diag.message_primary or str(error) or type(error).__name__
    lines: Sequence[str] = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _conninfo(settings: Settings) -> str:
    defaults: dict[str, str | int | None] = {
        "application_name": f"at-worker {settings.worker_id}"[:63],
        # As long as a statement; libpq takes whole seconds, two at least.
        "connect_timeout": max(2, min(10, int(settings.statement_deadline))),
        # Half-open connections: noticed in 30 s instead of hours.
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
        # After a failover the old address may lead to a standby.
        "target_session_attrs": "read-write",
    }
    given: Mapping[str, str | int | None]
    if settings.database_url:
        try:
            given = conninfo.conninfo_to_dict(settings.database_url)
        except psycopg.ProgrammingError:
            # libpq's own text may quote the password.
            raise ConfigError(["DATABASE_URL: its value is no connection URI that libpq can read"]) from None
    else:
        given = {
            "host": settings.db_host,
            "port": settings.db_port,
            "user": settings.db_user,
            "password": settings.db_password,
            "dbname": settings.db_name,
            "sslmode": settings.db_sslmode,
        }
    # Another encoding has no place for the characters of every payload.
    return conninfo.make_conninfo("", **{**defaults, **given, "client_encoding": "utf8"})
