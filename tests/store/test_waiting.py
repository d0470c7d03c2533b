from at_worker.store.database import Database
from at_worker.store.session import addressed
from at_worker.store.waiting import MOST, WAITING, Waiting, waiting
from tests.store.test_claim_plan import (
    Plan,
    _nodes,
    _read,
    crowd,  # noqa: F401 - a fixture
)
from tests.tables import Table


def test_rows_that_are_due_are_counted_by_type_with_the_age_of_the_oldest(
    table: Table, database: Database
) -> None:
    for priority in (1, 1, 9):
        table.insert("email", priority=priority)
    table.sql("UPDATE scheduled_tasks SET execute_at = now() - priority * interval '100 s'")
    table.insert("rabbitmq", execute_at="2100-01-01Z")
    table.insert("email", status="completed")
    mails, messages = sorted(waiting(database), key=lambda found: found.type)
    assert (mails.type, mails.rows) == ("email", 3)
    assert 900 <= mails.oldest < 930
    assert messages == Waiting("rabbitmq", 0, 0.0)


def test_an_empty_table_has_nothing_to_tell(database: Database) -> None:
    assert waiting(database) == []


def test_what_is_paused_does_not_wait_for_a_worker(table: Table, database: Database) -> None:
    table.insert("email")
    table.sql("SELECT at_pause('email')")
    assert waiting(database) == []


def test_a_flood_is_counted_up_to_a_limit(table: Table, database: Database) -> None:
    table.sql(
        "INSERT INTO scheduled_tasks (task_type) SELECT 'a' FROM generate_series(1, %(rows)s)", rows=MOST + 5
    )
    (found,) = waiting(database)
    assert found.rows == MOST


def test_rows_that_are_not_due_are_not_read(crowd: Table) -> None:  # noqa: F811 - the fixture
    (row,) = crowd.sql(b"EXPLAIN (ANALYZE, FORMAT JSON) " + addressed(WAITING, "public"), most=MOST)
    plan: Plan = row["QUERY PLAN"][0]["Plan"]
    assert not [node for node in _nodes(plan) if node["Node Type"] == "Seq Scan"]
    # Twenty lanes, each found by one row, and twenty rows that are due.
    assert _read(plan) <= 20 + 20 + 1
