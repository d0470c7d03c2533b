"""Applying sql/ddl.sql, and what a table looks like to the catalog."""

import os
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row

from at_worker.embedded.cluster import find_binaries
from at_worker.store import admin
from tests.tables import PATIENCE

FILE = Path(__file__).parents[2] / "sql" / "ddl.sql"

_COLUMNS = """
SELECT CASE c.relname WHEN 'scheduled_tasks' THEN a.attname::text ELSE c.relname || '.' || a.attname END,
       format_type(a.atttypid, NULL), a.attnotnull, a.attidentity::text,
       pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum)
  FROM pg_class tasks JOIN pg_class c USING (relnamespace)
  JOIN pg_attribute a ON a.attrelid = c.oid
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE tasks.oid = 'scheduled_tasks'::regclass AND c.relkind = 'r' AND c.relname ~ '^scheduled_tasks'
   AND a.attnum > 0 AND NOT a.attisdropped
"""
# PostgreSQL 18 lists NOT NULL here too, under names that tell the history of the table.
_CONSTRAINTS = """
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
 WHERE conrelid = 'scheduled_tasks'::regclass AND contype IN ('c', 'p')
"""
_INDEXES = """
SELECT c.relname, replace(pg_get_indexdef(i.indexrelid), quote_ident(n.nspname) || '.', '')
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE i.indrelid IN (SELECT oid FROM pg_class WHERE relname ~ '^scheduled_tasks') AND i.indisvalid
"""
_TRIGGERS = """
SELECT t.tgname, pg_get_triggerdef(t.oid, true), replace(p.prosrc, quote_ident(n.nspname) || '.', ''),
       p.proconfig, p.pronamespace = c.relnamespace
  FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_class c ON c.oid = t.tgrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relname ~ '^scheduled_tasks' AND NOT t.tgisinternal
"""
_FUNCTIONS = """
SELECT p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), p.prosecdef,
       p.provolatile::text, p.proconfig, replace(p.prosrc, quote_ident(n.nspname) || '.', ''),
       obj_description(p.oid, 'pg_proc')
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_class c ON c.relnamespace = n.oid AND c.oid = 'scheduled_tasks'::regclass
 WHERE p.proname ~ '^(at_|scheduled_tasks_)'
"""
_VIEWS = """
SELECT v.relname, replace(pg_get_viewdef(v.oid), quote_ident(n.nspname) || '.', ''),
       obj_description(v.oid, 'pg_class')
  FROM pg_class v JOIN pg_namespace n ON n.oid = v.relnamespace
  JOIN pg_class c ON c.relnamespace = n.oid AND c.oid = 'scheduled_tasks'::regclass
 WHERE v.relkind = 'v' AND v.relname LIKE 'scheduled_tasks_%'
"""
_TABLES = """
SELECT relname, reloptions, relpersistence::text, obj_description(oid, 'pg_class')
  FROM pg_class WHERE relname ~ '^scheduled_tasks' AND relkind = 'r'
"""

Shape = dict[str, dict[str, tuple[Any, ...]]]


def connect(dsn: str) -> psycopg.Connection[DictRow]:
    """A connection whose session is the same on every server and under every default of a database."""
    connection = psycopg.connect(dsn, autocommit=True, row_factory=dict_row)
    for setting in ("DateStyle = 'ISO'", "IntervalStyle = 'postgres'", "TimeZone = 'UTC'"):
        connection.execute(f"SET {setting}".encode())
    return connection


def apply(dsn: str, text: str | None = None) -> None:
    """Apply the file, or another text, over a connection of its own."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute((text or admin.ddl()).encode())


def insert(**expressions: str) -> str:
    """The statement that inserts a row of SQL expressions."""
    columns, values = ", ".join(expressions), ", ".join(expressions.values())
    return f"INSERT INTO scheduled_tasks ({columns}) VALUES ({values})"  # noqa: S608 - written by tests


def psql(dsn: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run psql as people do."""
    return subprocess.run(
        [find_binaries() / "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", *arguments, dsn],
        env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
        capture_output=True,
        text=True,
        check=False,
    )


def wait_until_blocked(dsn: str, seconds: float = 0) -> None:
    """Wait until a session of this database has been waiting for a lock so long."""
    until = time.monotonic() + PATIENCE
    with closing(psycopg.connect(dsn, autocommit=True)) as connection:
        while not connection.execute(
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            " AND clock_timestamp() - query_start > %s * interval '1 second'",
            [seconds],
        ).fetchall():
            assert time.monotonic() < until, "nobody waits"
            time.sleep(0.01)


def shape(dsn: str) -> Shape:
    """All that the catalog tells of the table, by kind and name."""
    with connect(dsn) as connection, connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
        return {
            kind: {row[0]: row[1:] for row in cursor.execute(query.encode())}
            for kind, query in {
                "columns": _COLUMNS,
                "constraints": _CONSTRAINTS,
                "indexes": _INDEXES,
                "triggers": _TRIGGERS,
                "functions": _FUNCTIONS,
                "views": _VIEWS,
                "tables": _TABLES,
            }.items()
        }


def rows(dsn: str) -> list[DictRow]:
    """Every row, as text."""
    with connect(dsn) as connection:
        return connection.execute("SELECT id, t::text AS text FROM scheduled_tasks t ORDER BY id").fetchall()
