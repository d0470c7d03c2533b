"""Inserts by 16 clients, with and without the triggers and indexes of the schema."""

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from urllib.parse import urlsplit

import psycopg

from at_worker.embedded.cluster import find_binaries
from bench.arena import Arena
from bench.measure import Measure, Metric, Sample, Trial
from bench.plan import Plan

CLIENTS = 16
KINDS = {"far": "now() + interval '30 days'", "now": "now()"}
INSERT = """INSERT INTO scheduled_tasks (task_type, payload, execute_at)
VALUES ('noop', '{{"n": 1}}', {execute_at});
"""

TRIGGERS = """
SELECT format('DROP TRIGGER %I ON scheduled_tasks', tgname) FROM pg_trigger
 WHERE tgrelid = 'scheduled_tasks'::regclass AND NOT tgisinternal
"""
INDEXES = """
SELECT format('DROP INDEX %s', indexrelid::regclass) FROM pg_index
 WHERE indrelid = 'scheduled_tasks'::regclass AND NOT indisprimary
"""
TABLES = {
    "the schema as it is": (),
    "without its triggers": (TRIGGERS,),
    "without its triggers and indexes": (TRIGGERS, INDEXES),
}


class PgbenchFailed(RuntimeError):
    """pgbench ended with an error."""


def inserts(arena: Arena, seconds: float, removals: Sequence[str]) -> Sample:
    """One row a transaction, for some seconds each kind."""
    values = {}
    for kind, execute_at in KINDS.items():
        with arena.database(schema=True) as dsn:
            with psycopg.connect(dsn, autocommit=True) as connection:
                for removal in removals:
                    for (statement,) in connection.execute(removal.encode()).fetchall():
                        connection.execute(statement.encode())
            arena.settle_down()
            values[kind] = pgbench(arena, dsn, INSERT.format(execute_at=execute_at), seconds)
    return Sample(values)


def pgbench(arena: Arena, dsn: str, script: str, seconds: float) -> float:
    """Transactions a second of a script, by so many clients."""
    file = arena.directory / "insert.sql"
    file.write_text(script)
    address = urlsplit(dsn)
    done = subprocess.run(
        [
            find_binaries() / "pgbench",
            "--no-vacuum",
            f"--file={file}",
            f"--client={CLIENTS}",
            "--jobs=2",
            "--protocol=prepared",
            f"--time={max(1, round(seconds))}",
            f"--host={address.hostname}",
            f"--port={address.port}",
            f"--username={address.username}",
            address.path.lstrip("/"),
        ],
        env={**os.environ, "PGPASSWORD": address.password or ""},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    if done.returncode != 0 or found is None:
        raise PgbenchFailed(done.stderr.strip().splitlines()[-1])
    return float(found[1])


@contextmanager
def trials(arena: Arena, plan: Plan) -> Iterator[Sequence[Trial]]:
    """The same table three times, with less and less."""
    yield [
        Trial(name, "", partial(inserts, arena, plan.insert_seconds, removals))
        for name, removals in TABLES.items()
    ]


MEASURE = Measure(
    "inserts",
    "Inserts by 16 clients",
    "pgbench, one row and one commit at a time, rows a second; no worker runs. *Far*: due in 30 days; *now*: "
    "due at once, so that each insert announces itself.",
    (Metric("far", "far rows/s", "higher"), Metric("now", "rows/s due now", "higher")),
    trials,
)
