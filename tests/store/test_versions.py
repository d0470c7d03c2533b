"""Every version of the schema that was ever released upgrades in place: versions/ keeps a copy of each."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from at_worker.store import admin
from at_worker.store.database import Database
from at_worker.store.queue import Queue
from tests.conftest import _fresh
from tests.store import ddl
from tests.store.plain import ROWS
from tests.tables import Table

UNTOLD = """
CREATE VIEW scheduled_tasks_workers AS
SELECT holder, worker_id, task_types, version, started_at, seen_at,
       seen_at > now() - interval '30 seconds' AS alive,
       (SELECT count(*) FROM scheduled_tasks t
         WHERE t.status = 'processing' AND t.locked_by = p.holder) AS running
  FROM scheduled_tasks_presence p
"""
VERSIONS = {int(path.stem): path for path in Path(__file__).with_name("versions").glob("*.sql")}


@pytest.fixture(params=VERSIONS)
def earlier(request: pytest.FixtureRequest, server_dsn: str) -> Iterator[Table]:
    """A table with rows, as this version created it."""
    with contextmanager(_fresh)(server_dsn, "template1") as dsn:
        ddl.apply(dsn, VERSIONS[request.param].read_text(encoding="utf-8"))
        ddl.apply(dsn, ROWS)
        with closing(Table(dsn)) as table:
            yield table


def test_every_version_is_kept() -> None:
    assert sorted(VERSIONS) == list(range(1, admin.SCHEMA_VERSION + 1))


def test_the_file_of_the_present_version_is_sql_ddl() -> None:
    kept = VERSIONS[admin.SCHEMA_VERSION]
    assert kept.read_text(encoding="utf-8") == ddl.FILE.read_text(encoding="utf-8"), (
        "raise SCHEMA_VERSION where this version was released already, else copy sql/ddl.sql there"
    )


def test_the_file_names_the_version_that_the_worker_expects(new: ddl.Shape) -> None:
    assert new["tables"]["scheduled_tasks"][-1].startswith(f"at-worker schema {admin.SCHEMA_VERSION}:")


def test_an_upgrade_from_an_earlier_version_keeps_the_rows(earlier: Table) -> None:
    before = earlier.sql("TABLE scheduled_tasks ORDER BY id")
    ddl.apply(earlier.dsn)
    after = earlier.sql("TABLE scheduled_tasks ORDER BY id")
    assert [{name: row[name] for name in before[0]} for row in after] == before


def test_an_earlier_version_gets_the_shape_of_a_new_table(earlier: Table, new: ddl.Shape) -> None:
    ddl.apply(earlier.dsn)
    assert ddl.shape(earlier.dsn) == new


def test_workers_that_did_not_tell_how_many_threads_they_have_go_on(dsn: str, new: ddl.Shape) -> None:
    """As version 2 was for a while, before its release."""
    ddl.apply(dsn, "ALTER TABLE scheduled_tasks_presence DROP COLUMN threads CASCADE")
    ddl.apply(dsn, UNTOLD)
    ddl.apply(dsn)
    ddl.apply(dsn)
    assert ddl.shape(dsn) == new


def test_a_worker_claims_after_an_upgrade_from_an_earlier_version(earlier: Table) -> None:
    ddl.apply(earlier.dsn)
    with closing(Database(earlier.settings())) as database:
        database.open()
        batch = Queue(database, "w/boot", None).claim(10, 0)
    assert [task.claim.id for task in batch.tasks] == [1]
