"""A row that triggers and constraints of the users' own let nobody write keeps no other from anything."""

from typing import LiteralString

import pytest
from psycopg.types.json import Jsonb

from at_worker.store.database import Database
from at_worker.store.errors import Refused
from at_worker.store.quarantine import in_halves
from at_worker.store.queue import Batch, Queue
from at_worker.store.recovery import Recovery
from tests.tables import Table

HANDS_OFF: LiteralString = """
CREATE FUNCTION hands_off() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.context ? 'guarded' THEN RAISE EXCEPTION 'hands off' USING ERRCODE = 'GU123'; END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
"""
AT_ONCE: LiteralString = (
    HANDS_OFF
    + """
CREATE TRIGGER hands_off BEFORE UPDATE OR DELETE ON scheduled_tasks
   FOR EACH ROW EXECUTE FUNCTION hands_off();
"""
)
AT_COMMIT: LiteralString = (
    HANDS_OFF
    + """
CREATE CONSTRAINT TRIGGER hands_off AFTER UPDATE OR DELETE ON scheduled_tasks
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hands_off();
"""
)
OLD = "2020-01-01T00:00:00Z"


@pytest.fixture(params=[AT_ONCE, AT_COMMIT], ids=["at once", "at commit"])
def guard(request: pytest.FixtureRequest) -> LiteralString:
    """A trigger that raises for guarded rows."""
    trigger: LiteralString = request.param
    return trigger


def _guarded(table: Table, **columns: object) -> int:
    return table.insert("probe", context=Jsonb({"guarded": True}), **columns)


def _ids(batch: Batch) -> list[int]:
    return [task.id for task in batch.tasks]


def _refuses_even_numbers(batch: list[int]) -> list[int]:
    if any(number % 2 == 0 for number in batch):
        raise Refused("even")
    return batch


def test_a_batch_is_written_but_for_what_is_refused_alone() -> None:
    done = list(in_halves([1, 3, 5, 7, 8, 9, 11], lambda part: _refuses_even_numbers(list(part))))
    assert [part for part, result in done if isinstance(result, Refused)] == [[8]]
    assert [result for _, result in done if isinstance(result, list)] == [[1, 3, 5], [7], [9, 11]]


def test_a_batch_that_nobody_refuses_is_written_at_once() -> None:
    assert list(in_halves([1, 3, 5], lambda part: _refuses_even_numbers(list(part)))) == [
        ([1, 3, 5], [1, 3, 5])
    ]


def test_a_row_whose_claim_is_refused_keeps_no_other_waiting(
    table: Table, queue: Queue, guard: LiteralString, caplog: pytest.LogCaptureFixture
) -> None:
    guarded = _guarded(table)
    others = [table.insert() for _ in range(3)]
    table.sql(guard)
    assert _ids(queue.claim(2, 0)) == others[:2]
    assert _ids(queue.claim(2, 0)) == others[2:]
    assert caplog.messages == [f"PostgreSQL refuses the claim of tasks [{guarded}]: hands off"]
    assert table.row(guarded)["status"] == "pending"


def test_refused_rows_in_front_of_the_queue_do_not_fill_the_room(table: Table, queue: Queue) -> None:
    for _ in range(30):
        _guarded(table, priority=9)
    task = table.insert(priority=0)
    table.sql(AT_ONCE)
    assert _ids(queue.claim(7, 0)) == [task]


def test_a_row_that_is_about_to_be_due_may_be_refused_too(table: Table, queue: Queue) -> None:
    (soon,) = table.sql("SELECT now() + interval '50 s' AS instant")
    _guarded(table, execute_at=soon["instant"])
    task = table.insert(execute_at=soon["instant"])
    table.sql(AT_ONCE)
    assert _ids(queue.claim(5, 0, ahead=5, look_ahead=60.0)) == [task]


def test_a_search_for_refused_rows_leaves_no_trace(table: Table, queue: Queue) -> None:
    guarded = _guarded(table)
    for _ in range(5):
        table.insert()
    table.sql(AT_ONCE)
    before = table.row(guarded)
    claimed = queue.claim(3, 0).tasks
    assert [task.claim.seq for task in claimed] == [1, 1, 1]
    assert table.row(guarded) == before
    assert table.sql("SELECT count(*) AS n FROM scheduled_tasks WHERE status = 'pending'") == [{"n": 3}]


def test_a_row_comes_out_of_quarantine_after_a_while(
    table: Table, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("at_worker.store.quarantine.QUARANTINE", 0.0)
    guarded = _guarded(table)
    table.sql(AT_ONCE)
    with pytest.raises(Refused, match="hands off"):
        queue.claim(1, 0)
    table.sql("DROP TRIGGER hands_off ON scheduled_tasks")
    assert _ids(queue.claim(1, 0)) == [guarded]


def test_what_is_refused_for_the_sake_of_no_row_is_an_error(table: Table, queue: Queue) -> None:
    table.sql(
        """
        CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'never'; END $$;
        CREATE TRIGGER never BEFORE UPDATE ON scheduled_tasks FOR EACH STATEMENT EXECUTE FUNCTION never()
        """
    )
    with pytest.raises(Refused, match="never"):
        queue.claim(1, 0)


def test_claims_without_a_reply_are_handed_back_but_for_the_refused(
    table: Table, queue: Queue, guard: LiteralString
) -> None:
    guarded, task = _guarded(table), table.insert()
    queue.claim(2, 0)
    table.sql(guard)
    assert queue.hand_back_unheld([]) == [task]
    assert table.row(guarded)["status"] == "processing"


def test_expired_rows_fail_but_for_the_refused(
    table: Table, database: Database, guard: LiteralString
) -> None:
    guarded, task = _guarded(table, expires_at=OLD), table.insert(expires_at=OLD)
    table.sql(guard)
    assert [row.id for row in Recovery(database, 60.0, None).expire(10)] == [task]
    assert table.row(guarded)["status"] == "pending"


def test_old_rows_are_deleted_but_for_the_refused(
    table: Table, database: Database, guard: LiteralString
) -> None:
    guarded = _guarded(table, status="completed", updated_at=OLD)
    table.insert(status="completed", updated_at=OLD)
    table.sql(guard)
    assert Recovery(database, 60.0, None).delete_old(3600.0, 0, 10)[1] == 1
    assert [row["id"] for row in table.sql("SELECT id FROM scheduled_tasks")] == [guarded]


def test_rows_that_are_refused_for_one_reason_are_told_in_one_line(
    table: Table, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    kept = [table.insert(status="completed", updated_at=OLD) for _ in range(3)]
    table.sql("CREATE TABLE own (task_id bigint REFERENCES scheduled_tasks)")
    table.sql("INSERT INTO own SELECT id FROM scheduled_tasks")
    assert Recovery(database, 60.0, None).delete_old(3600.0, 0, 10) == (kept[-1], 0)
    (line,) = caplog.messages
    assert line.startswith(f"PostgreSQL refuses the deletion of tasks {kept}: ")
