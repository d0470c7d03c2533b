"""The upgrade of tables that programs made for themselves: no row is lost, and a worker can start."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import psycopg
import pytest
from psycopg.rows import DictRow

from at_worker.store.database import Database
from at_worker.store.queue import Queue
from tests.conftest import _fresh
from tests.store import ddl
from tests.store.plain import COMPARED, PLAIN, ROWS, VARIANTS, upgraded_with
from tests.tables import Table


@dataclass(frozen=True, slots=True)
class Upgraded:
    """A table after its upgrade; its rows before and right after."""

    table: Table
    before: list[DictRow]
    after: list[DictRow]


# The tests of one table share it: making a database takes longer than all of them.
@pytest.fixture(scope="module", params=VARIANTS)
def upgraded(request: pytest.FixtureRequest, server_dsn: str) -> Iterator[Upgraded]:
    with contextmanager(_fresh)(server_dsn, "template1") as dsn:
        with psycopg.connect(dsn) as connection:
            connection.execute(VARIANTS[request.param].encode())
        with ddl.connect(dsn) as connection:
            connection.execute(ROWS.encode())
            before = connection.execute(COMPARED.encode()).fetchall()
        done = ddl.psql(dsn, f"--file={ddl.FILE}")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        with ddl.connect(dsn) as connection:
            after = connection.execute(COMPARED.encode()).fetchall()
        with closing(Table(dsn)) as table:
            yield Upgraded(table, before, after)


def test_an_upgrade_keeps_the_rows(upgraded: Upgraded) -> None:
    assert upgraded.after == upgraded.before


def test_an_upgraded_table_has_the_shape_of_a_new_one(upgraded: Upgraded, new: ddl.Shape) -> None:
    found = ddl.shape(upgraded.table.dsn)
    assert {kind: {name: found[kind].get(name) for name in new[kind]} for kind in new} == new


def test_ids_go_on_after_an_upgrade(upgraded: Upgraded) -> None:
    assert upgraded.table.insert(execute_at="2999-01-01") > 7


def test_a_worker_claims_from_an_upgraded_table(upgraded: Upgraded) -> None:
    with closing(Database(upgraded.table.settings())) as database:
        database.open()
        batch = Queue(database, "w/boot", None).claim(10, 0)
    assert [task.claim.id for task in batch.tasks] == [1]


def test_an_upgraded_row_can_be_cancelled(upgraded: Upgraded) -> None:
    upgraded.table.sql("UPDATE scheduled_tasks SET status = 'cancelled' WHERE id = 4")
    assert upgraded.table.row(4)["status"] == "cancelled"


@pytest.mark.parametrize("create", [PLAIN, VARIANTS["shared sequence"], VARIANTS["integer identity"]])
def test_ids_go_on_from_a_sequence_far_ahead_of_the_rows(empty_dsn: str, create: str) -> None:
    name = "ids" if "nextval" in create else "scheduled_tasks_id_seq"
    with closing(upgraded_with(empty_dsn, create, ROWS, f"SELECT setval('{name}', 5000)")) as table:
        assert table.insert() == 5001


def test_a_sequence_that_reached_the_end_of_integer_goes_on(empty_dsn: str) -> None:
    full = "SELECT setval('scheduled_tasks_id_seq', 2147483647)"
    with closing(upgraded_with(empty_dsn, VARIANTS["serial"], full)) as table:
        assert table.insert() == 2147483648


def test_ids_start_at_one_in_an_empty_table(empty_dsn: str) -> None:
    with closing(upgraded_with(empty_dsn, PLAIN)) as table:
        assert table.insert() == 1


def test_a_sequence_that_is_not_the_columns_own_stays(empty_dsn: str) -> None:
    with closing(upgraded_with(empty_dsn, VARIANTS["shared sequence"])) as table:
        assert table.sql("SELECT nextval('ids') AS id") == [{"id": 1}]


def test_the_sequence_keeps_its_name_and_its_grants(empty_dsn: str) -> None:
    rename = 'ALTER SEQUENCE scheduled_tasks_id_seq RENAME TO "Task Ids"'
    grant = 'GRANT USAGE ON SEQUENCE "Task Ids" TO PUBLIC'
    with closing(upgraded_with(empty_dsn, PLAIN, rename, grant)) as table:
        assert table.sql(
            "SELECT pg_get_serial_sequence('scheduled_tasks', 'id') AS name,"
            " has_sequence_privilege('pg_monitor', '\"Task Ids\"', 'USAGE') AS usable"
        ) == [{"name": 'public."Task Ids"', "usable": True}]


def test_a_timestamp_without_time_zone_is_read_in_the_time_zone_of_the_session(empty_dsn: str) -> None:
    insert = ddl.insert(task_type="'a'", execute_at="'2020-07-01 12:00'")
    with closing(upgraded_with(empty_dsn, VARIANTS["timestamp"], insert, zone="Europe/Berlin")) as table:
        assert table.sql("SELECT execute_at = '2020-07-01 10:00+00' AS right FROM scheduled_tasks") == [
            {"right": True}
        ]


def test_what_the_program_added_to_the_table_stays(empty_dsn: str) -> None:
    index = "CREATE INDEX own ON scheduled_tasks (tenant)"
    with closing(upgraded_with(empty_dsn, VARIANTS["columns of its own"], ROWS, index)) as table:
        assert table.row(1)["Note"] == "-"
        assert "own" in ddl.shape(table.dsn)["indexes"]


def test_a_deferred_trigger_does_not_forbid_an_upgrade_that_mends_rows(empty_dsn: str) -> None:
    function = "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$"
    trigger = (
        "CREATE CONSTRAINT TRIGGER look AFTER UPDATE ON scheduled_tasks DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION look()"
    )
    never = ddl.insert(task_type="'a'", execute_at="'infinity'")
    with closing(upgraded_with(empty_dsn, PLAIN, never, function, trigger)) as table:
        assert table.row(1)["execute_at"].year == 9999
