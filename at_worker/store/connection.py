"""One connection to PostgreSQL: where it finds the table, what its session is like, how long it waits."""

import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TypeVar

import psycopg
from psycopg import sql
from psycopg.abc import Buffer, PQGen
from psycopg.rows import TupleRow
from psycopg.types.datetime import TimestamptzLoader

from at_worker import jsontext
from at_worker.store.errors import MissingTable, Unusable
from at_worker.store.schema import BESIDE, TABLE, complaint

# The schemas of the search path may hold functions and operators of others, so all names are complete here.
_FIND = """
SELECT pg_catalog.to_regclass(%s)::pg_catalog.oid, pg_catalog.pg_backend_pid(),
       pg_catalog.current_setting('extra_float_digits')
"""
_COLUMNS = """
SELECT n.nspname, a.attname, pg_catalog.format_type(a.atttypid, NULL), ARRAY(
        SELECT beside.relname::text FROM pg_catalog.pg_class beside
         WHERE beside.relnamespace = c.relnamespace AND beside.relname = ANY (%s))
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.oid = %s
"""
# A server passes over what it is too old to know.
_SET = """
SELECT pg_catalog.set_config(s.name, s.value, false)
  FROM pg_catalog.json_each_text(%s::pg_catalog.json) AS s (name, value)
 WHERE pg_catalog.current_setting(s.name, true) IS NOT NULL
"""
# What the statements rely on, whatever the role and the database set for their sessions.
_SETTINGS = {
    "search_path": "pg_catalog, pg_temp",
    # The names of the columns' types are compared.
    "quote_all_identifiers": "off",
    # Times come as text of a float: less than this rounds them.
    "extra_float_digits": "1",
    # Under another one, rows that others have changed are errors and not passed over.
    "default_transaction_isolation": "read committed",
    # Connections rest in the pool.
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
    # A plan that was made while the table was small stays good when it is large.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_indexscan": "on",
    "enable_bitmapscan": "on",
    "jit": "off",
}
# A claim that waits for a lock is not to be made for a worker that has gone meanwhile.
_LOOK_FOR_CLIENT = {"client_connection_check_interval": "1s"}
# The server ends a statement itself, and tells why, before it has no answer; so it does with one that waits
# for a lock, and with the transaction of a worker that is paused.
_TIMEOUTS = {"lock_timeout": 0.6, "statement_timeout": 0.8, "idle_in_transaction_session_timeout": 1.0}

_Result = TypeVar("_Result")
# Seconds after which psycopg looks after a silent connection.
_TICK = 0.1


class _NoAnswer(psycopg.OperationalError):
    """The server did not answer a statement in time."""


def _bounded(steps: PQGen[_Result], seconds: float) -> PQGen[_Result]:
    """The steps of a statement, until nothing has come for so long."""
    until = time.monotonic() + seconds
    try:
        wanted = next(steps)
        while time.monotonic() < until:
            ready = yield wanted
            if ready:
                until = time.monotonic() + seconds
            wanted = steps.send(ready)
    except StopIteration as end:
        result: _Result = end.value
        return result
    raise _NoAnswer(f"no answer to a statement within {seconds:g} s")


class InUtc(TimestamptzLoader):
    """Times in UTC: of two in a zone of their own Python tells how far apart the clocks on the wall were."""

    def load(self, data: Buffer) -> datetime:
        return super().load(data).astimezone(UTC)


class Connection(psycopg.Connection[TupleRow]):
    """A connection that remembers where it found the table, and bears `deadline` seconds of silence."""

    deadline: float | None = None
    _schema: str | None = None

    def wait(self, gen: PQGen[_Result], interval: float = _TICK, timeout: float | None = None) -> _Result:
        """Wait for an answer. libpq's own timeouts do not see a peer that acknowledges and never answers."""
        if self.deadline is None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(_bounded(gen, self.deadline), interval, timeout)
        except _NoAnswer:
            self.close()
            raise

    def table_schema(self) -> str:
        """The schema of the table, found through the search path once. Raises MissingTable or Unusable."""
        if self._schema is None:
            try:
                self._schema = self._find()
            except BaseException:
                # A session that is half prepared would not find the table again.
                self.close()
                raise
        return self._schema

    def _find(self) -> str:
        ((table, backend, float_digits),) = self.execute(_FIND, [TABLE]).fetchall()
        if table is None:
            raise MissingTable(f"there is no table {TABLE}; at-worker init-db creates it")
        is_direct = backend == self.info.backend_pid
        if is_direct:
            self._prepare_session()
        elif int(float_digits) < 0:
            raise Unusable(
                f"extra_float_digits is {float_digits} for this role, which rounds times, and behind a"
                " pooler a worker cannot set it; ALTER ROLE ... RESET extra_float_digits"
            )
        found = self.execute(_COLUMNS, [list(BESIDE.values()), table]).fetchall()
        if problem := complaint({name: kind for _, name, kind, _ in found}, found[0][3]):
            raise Unusable(problem)
        schema = str(found[0][0])
        if is_direct:
            self._open_path(schema)
        return schema

    def _open_path(self, schema: str) -> None:
        """Let the users' own triggers find what lies beside the table."""
        path = sql.SQL("SET search_path = pg_catalog, {}, pg_temp")
        self.execute(path.format(sql.Identifier(schema)))

    def _prepare_session(self) -> None:
        """Make the session what the statements rely on, and plan each statement once.

        Planning a claim takes longer than the claim. Only on a connection to the server itself, which the
        process id tells: behind a pooler the settings would reach strangers, and a prepared statement might
        meet a connection that does not know it.
        """
        settings: dict[str, jsontext.Json] = dict(_SETTINGS)
        if self.deadline is not None:
            settings |= {name: f"{share * self.deadline:.3f}s" for name, share in _TIMEOUTS.items()}
        self.execute(_SET, [jsontext.render(settings)])
        # A server whose system cannot tell (Windows, some older ones) refuses any interval.
        with suppress(psycopg.errors.InvalidParameterValue):
            self.execute(_SET, [jsontext.render(_LOOK_FOR_CLIENT)])
        self.prepare_threshold = 0
