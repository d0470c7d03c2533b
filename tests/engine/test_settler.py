from contextlib import closing
from datetime import timedelta

import pytest

from at_worker import Done, Fail, Outcome, Retry
from at_worker.engine import poller
from at_worker.engine.tally import Ended
from at_worker.outcome import Settlement, Status
from at_worker.store.errors import Away, Unavailable
from tests.engine.bench import Bench, Gate, bench
from tests.servers.tcp_proxy import RESULT, database_proxy
from tests.tables import Table

# Refuses the result 2 for good, and is in the way of the result 3 once: a sequence takes nothing back.
IN_THE_WAY = """
CREATE SEQUENCE met;
CREATE FUNCTION in_the_way() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.result = '2' THEN
        RAISE check_violation;
    ELSIF NEW.result IS NOT DISTINCT FROM '3' AND nextval('met') = 1 THEN
        RAISE lock_not_available;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER in_the_way BEFORE UPDATE ON scheduled_tasks FOR EACH ROW EXECUTE FUNCTION in_the_way();
"""


def counted(worker: Bench) -> dict[Ended, int]:
    """How often each end was counted, of those that were."""
    match worker.tally.told():
        case {"types": {"probe": {"ended": list(counts)}}}:
            return {
                how: count
                for how, count in zip(Ended, counts, strict=True)
                if isinstance(count, int) and count
            }
        case told:
            raise AssertionError(told)


def test_tasks_that_ended_together_are_written_in_one_statement(table: Table) -> None:
    for _ in range(4):
        table.insert()
    with bench(table) as worker:
        worker.work()
    assert table.sql("SELECT count(DISTINCT updated_at) AS writes FROM scheduled_tasks") == [{"writes": 1}]


def test_rows_that_waited_for_results_to_be_written_are_claimed_as_soon_as_they_are(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "MOST_UNWRITTEN", 0)
    with bench(table, WORKER_CONCURRENCY="1", WORKER_BATCH_SIZE="1") as worker:
        for _ in range(6):
            table.insert()
        for _ in range(5):
            worker.poll()
            assert worker.wait()
        assert worker.poll() > 0.2
        worker.settler.turn()
        assert worker.poller.plan.wait < 0.1
        table.wait_for(lambda: worker.poller.turn() < 0 or len(worker.probe.attempts) == 6 or None)
        worker.settle()


def test_a_retry_is_found_without_an_announcement_where_its_lane_was_empty_meanwhile(table: Table) -> None:
    task = table.insert(retry_delays=["200 ms"])
    gate = Gate(Retry("no"))
    with bench(table, WORKER_POLLING_INTERVAL="30") as worker:
        worker.probe.behave = gate
        worker.poll()
        gate.wait_until_entered()
        worker.poll()
        gate.open()
        worker.settle()
        worker.probe.behave = lambda _payload, _attempt: Done()
        assert worker.poller.plan.wait < 0.2
        table.wait_for(lambda: worker.poller.turn() < 0 or len(worker.probe.attempts) == 2 or None)
        worker.settle()
    assert table.row(task)["status"] == "completed"


def test_a_late_result_after_the_cleaner_gave_the_task_away_changes_nothing(table: Table) -> None:
    task = table.insert()
    gate = Gate(Fail("of a ghost"))
    with bench(table) as paused, bench(table, "boot-2") as successor:
        paused.probe.behave = gate
        paused.poll()
        gate.wait_until_entered()
        table.age(task, 301)
        successor.clean()
        successor.work()
        before = table.row(task)
        gate.open()
        paused.settle()
        assert paused.leases.claims() == []
    assert table.row(task) == before
    assert (before["status"], before["locked_by"], before["claim_seq"]) == ("completed", "w-1/boot-2", 2)


def test_a_late_result_does_not_touch_the_claim_of_its_successor(table: Table) -> None:
    task = table.insert()
    ghost, gate = Gate(Done("of a ghost")), Gate(Done("of the owner"))
    with bench(table) as paused, bench(table, "boot-2") as successor:
        paused.probe.behave = ghost
        paused.poll()
        ghost.wait_until_entered()
        table.age(task, 301)
        successor.clean()
        successor.probe.behave = gate
        successor.poll()
        gate.wait_until_entered()
        ghost.open()
        paused.settle()
        assert table.row(task)["status"] == "processing"
        gate.open()
        successor.settle()
    row = table.row(task)
    assert (row["status"], row["attempts"], row["result"]) == ("completed", 2, "of the owner")


@pytest.mark.alters
def test_one_bad_row_in_a_batch_fails_alone(table: Table) -> None:
    tasks = [table.insert(payload={"n": n}) for n in range(4)]
    table.sql(
        "ALTER TABLE scheduled_tasks ADD CONSTRAINT own_rule CHECK (result->>'n' <> '2')",
    )
    with bench(table) as worker:
        worker.probe.behave = lambda payload, _attempt: Done(payload)
        worker.work()
    rows = [table.row(task) for task in tasks]
    assert [row["status"] for row in rows] == ["completed", "completed", "failed", "completed"]
    assert rows[2]["error_message"].startswith("the result could not be stored: ")
    assert "own_rule" in rows[2]["error_message"]


def test_texts_that_postgresql_cannot_hold_are_cleaned(table: Table) -> None:
    tasks = [table.insert(payload={"n": n}) for n in range(3)]
    outcomes: list[Outcome] = [
        Done({"body": "a\0b\ud800c", "k\0": 1}),
        Retry("nul \0 and \udfff"),
        Fail("x" * 5000),
    ]
    with bench(table) as worker:
        worker.probe.behave = lambda _payload, attempt: outcomes[tasks.index(attempt.task_id)]
        worker.work()
    done, retried, failed = (table.row(task) for task in tasks)
    assert done["result"] == {"body": "a\ufffdb\ufffdc", "k\ufffd": 1}
    assert retried["error_message"] == "nul \ufffd and \ufffd"
    assert len(failed["error_message"]) == 4096


def test_a_row_locked_by_a_person_waits_while_a_hundred_others_are_settled(table: Table) -> None:
    tasks = [table.insert() for _ in range(101)]
    person = Table(table.dsn)
    with bench(table, WORKER_CONCURRENCY="101", WORKER_BATCH_SIZE="101") as worker:
        gate = Gate()
        worker.probe.behave = gate
        worker.poll()
        gate.wait_until_entered(101)
        person.sql("BEGIN")
        person.sql("SELECT FROM scheduled_tasks WHERE id = %(id)s FOR UPDATE", id=tasks[50])
        gate.open()
        worker.settle()
        assert table.sql("SELECT count(*) AS n FROM scheduled_tasks WHERE status = 'completed'") == [
            {"n": 100}
        ]
        assert [claim.id for claim in worker.leases.claims()] == [tasks[50]]
        person.sql("ROLLBACK")
        worker.settle()
        assert worker.leases.claims() == []
    person.close()
    assert table.row(tasks[50])["status"] == "completed"


def test_a_row_that_was_deleted_while_it_ran_disturbs_nobody(table: Table) -> None:
    gone, kept = table.insert(), table.insert()
    gate = Gate()
    with bench(table) as worker:
        worker.probe.behave = gate
        worker.poll()
        gate.wait_until_entered(2)
        table.sql("DELETE FROM scheduled_tasks WHERE id = %(id)s", id=gone)
        gate.open()
        worker.settle()
        assert worker.leases.claims() == []
    assert table.row(kept)["status"] == "completed"


def test_an_extreme_counter_of_a_hand_made_row_does_not_stop_it(table: Table) -> None:
    task = table.insert(attempts=2147483647, max_attempts=2147483647)
    with bench(table) as worker:
        worker.work()
    assert table.row(task)["status"] == "completed"


def test_a_settlement_of_an_old_claim_and_of_the_present_one_can_share_a_batch(table: Table) -> None:
    task = table.insert()
    with bench(table) as worker:
        (first,) = worker.queue.claim(1, 0).tasks
        worker.queue.hand_back_unheld([])
        (second,) = worker.queue.claim(1, 0).tasks
        leftover = worker.queue.settle(
            [Settlement(first, Status.FAILED, error="old"), Settlement(second, Status.COMPLETED)]
        )
    assert leftover.lost == {first.claim}
    assert not leftover.locked
    assert table.row(task)["status"] == "completed"


def test_results_that_cannot_be_written_hold_up_claiming_before_memory(table: Table) -> None:
    table.sql("INSERT INTO scheduled_tasks (task_type) SELECT 'probe' FROM generate_series(1, 1500)")
    with bench(table, WORKER_CONCURRENCY="4", WORKER_BATCH_SIZE="100") as worker:
        for _ in range(40):
            worker.poll()
            assert worker.wait()
        assert worker.leases.count <= 4 + 1000
        worker.settle()
        worker.poll()
        assert worker.leases.count > 0


@pytest.mark.alters
def test_what_was_written_of_a_batch_before_the_rest_failed_is_counted_once(table: Table) -> None:
    tasks = [table.insert(payload=n) for n in range(4)]
    table.sql(IN_THE_WAY)
    with bench(table) as worker:
        worker.probe.behave = lambda payload, _attempt: Done(payload)
        worker.poll()
        assert worker.wait()
        with pytest.raises(Unavailable):
            worker.settler.turn()
        assert len(worker.leases.claims()) == 1
        worker.settle()
        assert counted(worker) == {Ended.COMPLETED: 3, Ended.FAILED: 1}
    assert [table.row(task)["status"] for task in tasks] == ["completed", "completed", "failed", "completed"]


def test_ends_that_were_written_and_whose_reply_was_lost_are_counted_as_what_they_are(table: Table) -> None:
    outcomes: list[Outcome] = [Done(), Fail("gone"), Retry("busy"), Retry("quick")]
    tasks = [table.insert(payload=n, retry_delays=[timedelta(hours=n != 3)]) for n in range(4)]
    with database_proxy(table.dsn) as (proxy, dsn), closing(Table(dsn)) as far, bench(far) as worker:
        worker.probe.behave = lambda _payload, attempt: outcomes[tasks.index(attempt.task_id)]
        worker.poll()
        assert worker.wait()
        lost = proxy.lose_reply(RESULT, reset=True)
        with pytest.raises(Away):
            worker.settler.turn()
        assert lost.happened.is_set()
        with bench(table, "boot-2") as other:
            table.wait_for(lambda: other.queue.claim(1, 0).tasks)
        assert table.row(tasks[3])["claim_seq"] == 2
        worker.settle()
        assert counted(worker) == {Ended.COMPLETED: 1, Ended.FAILED: 1, Ended.RETRY: 2}
        assert worker.leases.claims() == []


def test_ends_that_were_not_written_before_their_claims_were_lost_are_discarded(table: Table) -> None:
    tasks = [table.insert(payload=n) for n in range(3)]
    with database_proxy(table.dsn) as (proxy, dsn), closing(Table(dsn)) as far, bench(far) as worker:
        worker.probe.behave = lambda payload, _attempt: Done() if payload else Fail("gone")
        worker.poll()
        assert worker.wait()
        proxy.cut()
        with pytest.raises(Away):
            worker.settler.turn()
        table.sql("UPDATE scheduled_tasks SET status = 'cancelled' WHERE id = %(id)s", id=tasks[0])
        table.age(tasks[1], 301)
        with bench(table, "boot-2") as successor:
            successor.clean()
            successor.work()
        worker.settle()
        assert counted(worker) == {Ended.COMPLETED: 1, Ended.DISCARDED: 2}
