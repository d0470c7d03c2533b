"""Which workers are there, as people see it."""

import logging

import pytest

from at_worker import __version__
from at_worker.store.database import Database
from at_worker.store.presence import Presence
from at_worker.store.queue import Queue
from tests.store import ddl
from tests.store.test_roles import login
from tests.tables import Table


def _show(database: Database, holder: str, *types: str) -> Presence:
    presence = Presence(holder, holder.partition("/")[0], types, 4)
    with database.session() as session:
        presence.show(session)
    return presence


def test_a_worker_that_shows_itself_is_alive(table: Table, database: Database, queue: Queue) -> None:
    table.insert()
    queue.claim(1, 0)
    _show(database, "w-1/boot", "probe", "email")
    (row,) = table.sql("SELECT * FROM scheduled_tasks_workers")
    assert (row["holder"], row["worker_id"], row["version"]) == ("w-1/boot", "w-1", __version__)
    assert (row["task_types"], row["alive"], row["running"]) == (["email", "probe"], True, 1)
    assert row["threads"] == 4


def test_one_that_misses_three_looks_is_not(table: Table, database: Database) -> None:
    _show(database, "w-1/boot")
    table.sql("UPDATE scheduled_tasks_presence SET seen_at = seen_at - interval '31 s'")
    assert table.sql("SELECT alive FROM scheduled_tasks_workers") == [{"alive": False}]
    _show(database, "w-1/boot")
    assert table.sql("SELECT alive FROM scheduled_tasks_workers") == [{"alive": True}]


def test_one_that_takes_its_leave_is_gone(table: Table, database: Database) -> None:
    presence = _show(database, "w-1/boot")
    _show(database, "w-1/later")
    with database.session() as session:
        presence.leave(session)
    assert table.sql("SELECT holder FROM scheduled_tasks_workers") == [{"holder": "w-1/later"}]


def test_the_dead_are_forgotten_after_an_hour(table: Table, database: Database) -> None:
    _show(database, "w-1/dead")
    table.sql("UPDATE scheduled_tasks_presence SET seen_at = seen_at - interval '61 min'")
    _show(database, "w-1/boot")
    assert table.sql("SELECT holder FROM scheduled_tasks_workers") == [{"holder": "w-1/boot"}]


def test_a_role_that_may_not_write_there_is_told_once(table: Table, caplog: pytest.LogCaptureFixture) -> None:
    with login(table.dsn) as (name, dsn):
        ddl.apply(table.dsn, f"GRANT SELECT, UPDATE ON scheduled_tasks TO {name}")
        database = Database(table.settings(DATABASE_URL=dsn))
        presence = Presence("w-1/boot", "w-1", [], 4)
        with caplog.at_level(logging.WARNING), database.direct() as session:
            presence.show(session)
            presence.show(session)
    (record,) = caplog.records
    assert record.getMessage() == (
        "The worker cannot show itself in scheduled_tasks_presence: permission denied for table"
        " scheduled_tasks_presence; grant the worker's role what sql/roles.sql grants at_worker"
    )
