"""at-worker: rows."""

from collections.abc import Sequence
from datetime import UTC, datetime

import psycopg

from at_worker.store import admin
from bench.apps.producer import dsn

INSERT = """
INSERT INTO scheduled_tasks (task_type, payload, execute_at)
VALUES ('noop', jsonb_build_object('n', %s::int), coalesce(%s, now()))
"""
COPY = "COPY scheduled_tasks (task_type, payload, execute_at) FROM STDIN"


class Producer:
    """Many rows by COPY, one row by INSERT."""

    def __init__(self) -> None:
        self._connection = psycopg.connect(dsn(), autocommit=True)

    def prepare(self) -> None:
        self._connection.execute(admin.ddl().encode())

    def put(self, first: int, due: Sequence[float | None]) -> None:
        now = datetime.now(UTC)
        with self._connection.cursor() as cursor, cursor.copy(COPY) as rows:
            for number, instant in enumerate(due, first):
                at = now if instant is None else datetime.fromtimestamp(instant, UTC)
                rows.write_row(("noop", f'{{"n": {number}}}', at))

    def put_one(self, number: int) -> None:
        self._connection.execute(INSERT, (number, None))
