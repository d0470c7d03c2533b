"""The connections of a process to PostgreSQL."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Self

import psycopg
from psycopg import conninfo
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from at_worker.config import ConfigError, Settings
from at_worker.store import errors
from at_worker.store.connection import Connection, InUtc
from at_worker.store.errors import Away, Full, Unavailable
from at_worker.store.session import Session, text_of, translated

_PATIENCE = 3.0

Observer = Callable[["Away | None"], None]


class Database:
    """The connections of one process: a handful, opened when needed, replaced when broken."""

    def __init__(
        self,
        settings: Settings,
        observe: Observer = lambda _: None,
        connections: int = 5,
        listen_dsn: str | None = None,
    ) -> None:
        url = ("LISTEN_DSN", listen_dsn) if listen_dsn else ("DATABASE_URL", settings.database_url)
        self._conninfo = _conninfo(settings, *url)
        self._variables = "LISTEN_DSN" if listen_dsn else "DB_USER, DB_PASSWORD, DATABASE_URL"
        self._deadline = settings.statement_deadline
        self._observe = observe
        self._reached = False
        self._times_reached = 0
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

    @classmethod
    def to_listen(cls, settings: Settings) -> Self:
        """The database as LISTEN_DSN reaches it; as everything else does where that is not set."""
        return cls(settings, listen_dsn=settings.listen_dsn)

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

        The observer hears of every success (None) and of every Away, but of none that comes late: others have
        reached the server again meanwhile.
        """
        before = self._times_reached
        try:
            with self._lent() as connection, translated(connection):
                # Again: it may have been this one that reached the server.
                before = self._times_reached
                yield Session(connection)
        except Away as error:
            if self._times_reached == before:
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
            self._times_reached += 1
            self._reached = True

    @contextmanager
    def direct(self, dbname: str | None = None) -> Iterator[Session]:
        """A connection of its own, made now, so that a failure tells the reason. Raises as `session` does."""
        try:
            connection = Connection.connect(self._conninfo, autocommit=True, dbname=dbname)
        except psycopg.Error as error:
            raise errors.of_login(text_of(error), self.name, self.database_name, self._variables) from None
        self._configure(connection)
        with connection, translated(connection):
            yield Session(connection)

    def _configure(self, connection: Connection) -> None:
        connection.deadline = self._deadline
        connection.adapters.register_loader("timestamptz", InUtc)


def _conninfo(settings: Settings, variable: str, url: str | None) -> str:
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
    if url:
        try:
            given = conninfo.conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            # libpq's own text may quote the password.
            raise ConfigError([f"{variable}: its value is no connection URI that libpq can read"]) from None
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
