"""The table as people and other programs use it: plain SQL on a connection of their own."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import LiteralString, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb

from at_worker import jsontext
from at_worker.config import Settings, load

PATIENCE = 30.0

Found = TypeVar("Found")


def dsn_of(server_dsn: str, name: str) -> str:
    """The address of another database on the same server, as a URL."""
    given = conninfo_to_dict(make_conninfo(server_dsn, dbname=name))
    user, password = given.pop("user", ""), given.pop("password", "")
    host, port, dbname = given.pop("host", "localhost"), given.pop("port", "5432"), given.pop("dbname")
    return f"postgresql://{user}:{password}@{host}:{port}/{dbname}"


class Table:
    """Inserts rows, looks at them and changes them, as a person at psql would."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._connection = psycopg.connect(dsn, autocommit=True, row_factory=dict_row)

    def close(self) -> None:
        self._connection.close()

    def settings(self, **variables: str) -> Settings:
        """Settings for a worker on this database."""
        return load({"DATABASE_URL": self.dsn, "WORKER_ID": "w-1", **variables}, ())

    def sql(self, query: LiteralString | bytes, **parameters: object) -> list[DictRow]:
        """Run a statement and return its rows, if it has any."""
        cursor = self._connection.execute(query, parameters or None)
        return [] if cursor.description is None else cursor.fetchall()

    def transaction(self) -> AbstractContextManager[object]:
        """Keep what is run in the block together."""
        return self._connection.transaction()

    def run(self, statement: psycopg.sql.Composed) -> None:
        """Run a statement that names what only the test knows."""
        self._connection.execute(statement)

    def insert(self, task_type: str = "probe", payload: object = None, **columns: object) -> int:
        """Insert a row that is due now, unless `columns` say otherwise; returns its id."""
        values = {
            "task_type": task_type,
            "payload": Jsonb({} if payload is None else payload, dumps=jsontext.render),
            **columns,
        }
        row = self._connection.execute(
            psycopg.sql.SQL("INSERT INTO scheduled_tasks ({}) VALUES ({}) RETURNING id").format(
                psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, values)),
                psycopg.sql.SQL(", ").join(psycopg.sql.Placeholder() * len(values)),
            ),
            list(values.values()),
        ).fetchone()
        assert row is not None
        return int(row["id"])

    def row(self, task_id: int) -> DictRow:
        """All columns of one row."""
        (row,) = self.sql("SELECT * FROM scheduled_tasks WHERE id = %(id)s", id=task_id)
        return row

    def age(self, task_id: int, seconds: float) -> None:
        """Let time pass for one row: move all its instants into the past."""
        self.sql(
            """
            UPDATE scheduled_tasks SET
                updated_at = updated_at - %(age)s * interval '1 s',
                created_at = created_at - %(age)s * interval '1 s',
                execute_at = execute_at - %(age)s * interval '1 s',
                expires_at = expires_at - %(age)s * interval '1 s'
             WHERE id = %(id)s
            """,
            age=seconds,
            id=task_id,
        )

    def wait(self, task_id: int, status: str) -> DictRow:
        """Wait until a row has this status; for tests with worker processes, which tell nobody."""
        return self.wait_for_row(task_id, lambda row: row["status"] == status)

    def wait_for_row(self, task_id: int, holds: Callable[[DictRow], bool]) -> DictRow:
        """Wait until something holds of a row; returns the row."""
        return self.wait_for(lambda: row if holds(row := self.row(task_id)) else None)

    def wait_for(self, look: Callable[[], Found | None], patience: float = PATIENCE) -> Found:
        """Wait until `look` returns something true, and return that."""
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if found := look():
                return found
            time.sleep(0.02)
        raise AssertionError(
            f"it did not come to pass within {patience:g} s: {self.sql('TABLE scheduled_tasks')}"
        )
