"""Every way that a task can go from one status to another."""

import time
from datetime import timedelta

import pytest

from at_worker import Done, Fail, Retry
from at_worker.outcome import Run, resolve
from at_worker.plugin import InvalidPayload, MissingSetting
from tests.engine.bench import Gate, bench
from tests.tables import Table

SECOND = timedelta(seconds=1)


def test_a_due_row_is_claimed_with_a_new_fencing_token(table: Table) -> None:
    task = table.insert()
    gate = Gate()
    with bench(table) as worker:
        worker.probe.behave = gate
        worker.poll()
        gate.wait_until_entered()
        row = table.row(task)
        gate.open()
    assert (row["status"], row["claim_seq"], row["attempts"]) == ("processing", 1, 0)
    assert row["locked_by"] == "w-1/boot-1"
    assert row["started_at"] is not None


def test_a_row_of_the_future_stays_pending(table: Table) -> None:
    task = table.insert(execute_at="2999-01-01T00:00:00Z")
    with bench(table) as worker:
        worker.work()
    assert table.row(task)["status"] == "pending"
    assert not worker.probe.attempts


def test_success_completes_a_task_and_clears_its_error(table: Table) -> None:
    task = table.insert(error_message="of an earlier attempt", attempts=1)
    with bench(table) as worker:
        worker.probe.behave = lambda _payload, _attempt: Done({"answer": 42})
        worker.work()
    row = table.row(task)
    assert (row["status"], row["attempts"], row["error_message"]) == ("completed", 2, None)
    assert row["result"] == {"answer": 42}
    assert row["started_at"] <= row["completed_at"] <= row["updated_at"]


def test_completed_at_is_the_true_end_of_the_attempt(table: Table) -> None:
    task = table.insert()
    with bench(table) as worker:
        (claimed,) = worker.queue.claim(1, 0).tasks
        now = time.monotonic()
        run = Run(started=now - 12, ended=now - 10)
        worker.queue.settle([resolve(claimed, Done(), now=now, run=run, default_delays=[1.0])])
    row = table.row(task)
    assert 10 * SECOND <= row["updated_at"] - row["completed_at"] < 11 * SECOND
    assert row["completed_at"] - row["started_at"] == 2 * SECOND


def test_a_failure_that_may_pass_waits_for_its_retry_delay(table: Table) -> None:
    task = table.insert(retry_delays=[10 * SECOND, 20 * SECOND], attempts=1)
    asked_for = table.row(task)["execute_at"]
    with bench(table) as worker:
        worker.probe.behave = lambda _payload, _attempt: Retry("not now")
        worker.work()
    row = table.row(task)
    assert (row["status"], row["attempts"], row["error_message"]) == ("pending", 2, "not now")
    assert 20 * SECOND <= row["execute_at"] - row["updated_at"] <= 24 * SECOND
    assert row["original_execute_at"] == asked_for
    assert row["completed_at"] is None


def test_a_second_retry_keeps_what_the_app_asked_for(table: Table) -> None:
    task = table.insert(retry_delays=[0 * SECOND])
    asked_for = table.row(task)["execute_at"]
    with bench(table) as worker:
        worker.probe.behave = lambda _payload, _attempt: Retry("not now")
        worker.work()
        worker.work()
    row = table.row(task)
    assert (row["attempts"], row["original_execute_at"]) == (2, asked_for)
    assert {attempt.scheduled_at for attempt in worker.probe.attempts} == {asked_for}


def test_a_retry_after_of_the_receiver_is_honoured_where_it_is_longer(table: Table) -> None:
    task = table.insert(retry_delays=[SECOND])
    with bench(table) as worker:
        worker.probe.behave = lambda _payload, _attempt: Retry("busy", after=100.0)
        worker.work()
    row = table.row(task)
    assert row["execute_at"] - row["updated_at"] == 100 * SECOND


def test_a_failure_that_cannot_pass_fails_at_once(table: Table) -> None:
    task = table.insert()
    with bench(table) as worker:
        worker.probe.behave = lambda _payload, _attempt: Fail("no such receiver", {"status": 410})
        worker.work()
    row = table.row(task)
    assert (row["status"], row["attempts"], row["error_message"]) == ("failed", 1, "no such receiver")
    assert row["result"] == {"status": 410}
    assert row["completed_at"] is None


def test_a_task_fails_when_its_attempts_are_used_up(table: Table) -> None:
    task = table.insert(max_attempts=3, attempts=2)
    with bench(table) as worker:
        worker.probe.behave = lambda _payload, _attempt: Retry("still not")
        worker.work()
    row = table.row(task)
    assert (row["status"], row["attempts"], row["error_message"]) == ("failed", 3, "still not")


def test_a_retry_that_would_come_after_the_expiry_fails_with_the_real_error(table: Table) -> None:
    task = table.insert(retry_delays=[60 * SECOND])
    table.sql("UPDATE scheduled_tasks SET expires_at = now() + interval '30 s'")
    with bench(table) as worker:
        worker.probe.behave = lambda _payload, _attempt: Retry("receiver is away")
        worker.work()
    row = table.row(task)
    assert (row["status"], row["error_message"]) == ("failed", "expired: receiver is away")


def test_an_expired_row_fails_when_the_claim_meets_it(table: Table) -> None:
    task = table.insert(expires_at="2020-01-01T00:00:00Z")
    with bench(table) as worker:
        worker.work()
    row = table.row(task)
    assert (row["status"], row["attempts"], row["claim_seq"]) == ("failed", 0, 0)
    assert row["error_message"] == "expired: not started by 2020-01-01 00:00:00Z"
    assert not worker.probe.attempts


def test_an_expired_row_fails_when_the_cleaner_meets_it(table: Table) -> None:
    task = table.insert(
        execute_at="2999-01-01T00:00:00Z",
        expires_at="2020-01-01T00:00:00Z",
        attempts=1,
        error_message="HTTP 503",
    )
    with bench(table) as worker:
        worker.clean()
    row = table.row(task)
    assert (row["status"], row["attempts"], row["error_message"]) == ("failed", 1, "expired: HTTP 503")


def test_a_task_that_expires_between_claim_and_start_does_not_start(table: Table) -> None:
    task = table.insert()
    table.sql("UPDATE scheduled_tasks SET expires_at = now() + interval '30 s'")
    with bench(table) as worker:
        (claimed,) = worker.queue.claim(1, 0).tasks
        worker.leases.take(claimed)
        assert claimed.expires is not None
        worker.runner.start(claimed._replace(expires=claimed.expires - 30))
        worker.settle()
    row = table.row(task)
    assert (row["status"], row["attempts"]) == ("failed", 0)
    assert row["error_message"].startswith("expired")
    assert not worker.probe.attempts


def test_a_stuck_task_is_due_at_once_the_first_time_it_is_lost(table: Table) -> None:
    task = table.insert()
    with bench(table) as dead, bench(table, "boot-2") as alive:
        dead.queue.claim(1, 0)
        table.age(task, 301)
        alive.clean()
        row = table.row(task)
        assert (row["status"], row["attempts"], row["execute_at"]) == ("pending", 1, row["updated_at"])
        assert row["error_message"].startswith("lost: worker w-1/boot-1 gave no heartbeat for 301 s")
        alive.work()
    assert (table.row(task)["status"], table.row(task)["attempts"]) == ("completed", 2)


def test_a_task_that_is_lost_again_waits_for_its_retry_delay(table: Table) -> None:
    task = table.insert(retry_delays=[10 * SECOND, 20 * SECOND])
    with bench(table) as worker:
        for _ in range(2):
            worker.queue.claim(1, 0)
            table.age(task, 301)
            worker.clean()
    row = table.row(task)
    assert (row["status"], row["attempts"]) == ("pending", 2)
    assert 20 * SECOND <= row["execute_at"] - row["updated_at"] <= 24 * SECOND


def test_a_stuck_task_without_attempts_left_is_failed(table: Table) -> None:
    task = table.insert(max_attempts=1)
    with bench(table) as worker:
        worker.queue.claim(1, 0)
        table.age(task, 301)
        worker.clean()
    row = table.row(task)
    assert (row["status"], row["attempts"]) == ("failed", 1)
    assert row["error_message"].startswith("lost: ")


def test_a_claim_that_could_not_start_in_time_is_handed_back_uncounted(table: Table) -> None:
    task = table.insert()
    with bench(table) as worker:
        (claimed,) = worker.queue.claim(1, 0).tasks
        worker.leases.take(claimed)
        worker.runner.start(claimed._replace(due=claimed.due - 1.1))
        worker.settle()
        row = table.row(task)
        assert (row["status"], row["attempts"], row["original_execute_at"]) == ("pending", 0, None)
        assert not worker.probe.attempts
        worker.work()
    assert table.row(task)["status"] == "completed"


def test_a_claim_whose_reply_was_lost_is_handed_back_uncounted(table: Table) -> None:
    task = table.insert()
    with bench(table) as worker:
        worker.queue.claim(1, 0)
        assert worker.queue.hand_back_unheld([]) == [task]
    row = table.row(task)
    assert (row["status"], row["attempts"]) == ("pending", 0)


def test_handing_back_what_is_not_held_leaves_what_is_held_and_what_others_hold(table: Table) -> None:
    mine, theirs = table.insert(), table.insert()
    with bench(table) as worker, bench(table, "boot-2") as other:
        (held,) = worker.queue.claim(1, 0).tasks
        other.queue.claim(1, 0)
        assert worker.queue.hand_back_unheld([held.claim]) == []
    assert {table.row(task)["status"] for task in (mine, theirs)} == {"processing"}


def test_an_unknown_type_may_pass_and_names_the_known_ones(table: Table) -> None:
    task = table.insert("fax")
    with bench(table) as worker:
        worker.work()
    row = table.row(task)
    assert (row["status"], row["attempts"]) == ("pending", 1)
    assert row["error_message"] == "unknown task_type 'fax'; this worker knows other, probe"


def test_an_exception_of_an_executor_may_pass_and_is_told_in_one_line(table: Table) -> None:
    task = table.insert()

    def stumble(*_: object) -> Done:
        raise LookupError("first line\nsecond line")

    with bench(table) as worker:
        worker.probe.behave = stumble
        worker.work()
    row = table.row(task)
    assert (row["status"], row["error_message"]) == ("pending", "LookupError: first line second line")


@pytest.mark.parametrize("surprise", [MemoryError(), SystemExit(1), KeyboardInterrupt()])
def test_whatever_an_executor_raises_costs_no_thread_and_no_task(
    table: Table, surprise: BaseException
) -> None:
    task = table.insert()

    def stumble(*_: object) -> Done:
        raise surprise

    with bench(table, WORKER_CONCURRENCY="1") as worker:
        worker.probe.behave = stumble
        worker.work()
        assert table.row(task)["status"] == "pending"
        worker.probe.behave = lambda _payload, _attempt: Done()
        table.sql("UPDATE scheduled_tasks SET status = 'pending', execute_at = now()")
        worker.work()
    assert table.row(task)["status"] == "completed"


def test_an_executor_that_returns_no_outcome_may_pass(table: Table) -> None:
    task = table.insert()
    with bench(table) as worker:
        worker.probe.behave = lambda _payload, _attempt: None  # type: ignore[assignment,return-value]  # a plug-in's mistake
        worker.work()
    assert table.row(task)["error_message"] == (
        "the executor of probe returned NoneType, not Done, Retry or Fail"
    )


def test_an_invalid_payload_fails_at_once_and_names_the_field(table: Table) -> None:
    task = table.insert()

    def refuse(*_: object) -> Done:
        raise InvalidPayload("url", "is missing")

    with bench(table) as worker:
        worker.probe.behave = refuse
        worker.work()
    row = table.row(task)
    assert (row["status"], row["error_message"]) == ("failed", "invalid payload: url: is missing")


def test_a_setting_that_this_worker_lacks_may_come(table: Table) -> None:
    task = table.insert()

    def refuse(*_: object) -> Done:
        raise MissingSetting("sign", "this worker has no AT_SECRET_SHOP")

    with bench(table) as worker:
        worker.probe.behave = refuse
        worker.work()
    row = table.row(task)
    assert row["status"] == "pending"
    assert row["error_message"] == "missing setting: sign: this worker has no AT_SECRET_SHOP"


def test_an_attempt_knows_its_task(table: Table) -> None:
    task = table.insert(
        attempts=2,
        context='{"who": "billing"}',
        result='{"status": 503}',
        execute_at="2021-02-03T04:05:06.789Z",
    )
    with bench(table) as worker:
        worker.work()
    (attempt,) = worker.probe.attempts
    row = table.row(task)
    assert (attempt.task_id, attempt.task_uid, attempt.number) == (task, str(row["task_uid"]), 3)
    assert (attempt.context, attempt.previous) == ({"who": "billing"}, {"status": 503})
    assert attempt.scheduled_at == row["execute_at"]


def test_an_attempt_without_a_result_leaves_what_an_earlier_one_reported(table: Table) -> None:
    task = table.insert(result='{"accepted": ["a@example.org"]}')
    with bench(table) as worker:
        worker.probe.behave = lambda _payload, _attempt: Retry("connection lost")
        worker.work()
    assert table.row(task)["result"] == {"accepted": ["a@example.org"]}


def test_a_failure_is_told_with_the_notes_of_its_producer(
    table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    task = table.insert(context='{"who": "billing"}')
    with bench(table) as worker:
        worker.probe.behave = lambda _payload, _attempt: Fail("no such invoice")
        worker.work()
    assert caplog.messages[-1] == (
        f"[Executor] Task {task} failed: no such invoice"
        ' (probe, attempt 1 of 5, for good, context {"who": "billing"})'
    )
