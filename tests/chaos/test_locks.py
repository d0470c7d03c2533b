"""People at work in the table while workers are: locks on it, on rows, in any order, under any isolation.

None of it is told to `faults`: a worker waits for what is locked, goes on with the rest, and keeps what it
holds.
"""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from random import Random

import psycopg
import pytest

from tests.chaos.experiment import STUCK_TIMEOUT, Experiment
from tests.processes import PATIENCE
from tests.store.test_applying import set_default
from tests.tables import Table

PEOPLE = 3
TASKS = 200
SECONDS = 2.0
# Seconds between two statements of a person; who never lets go of a row has it for himself.
PAUSE = 0.01

SOME = """
SELECT id FROM scheduled_tasks WHERE status IN ('pending', 'processing') ORDER BY random() LIMIT 5
"""
# Another instant would change when it is done, another status whether.
TOUCH = """
UPDATE scheduled_tasks SET context = context || '{"seen": true}'
 WHERE id = %(id)s AND status IN ('pending', 'processing')
"""

# As people count what changes, each task's row in one of two others.
TALLY = """
CREATE TABLE tally AS SELECT part, 0 AS changes FROM generate_series(0, 1) part;
CREATE FUNCTION count_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tally SET changes = changes + 1 WHERE part = NEW.id % 2;
    RETURN NULL;
END $$;
CREATE TRIGGER tally AFTER UPDATE ON scheduled_tasks FOR EACH ROW EXECUTE FUNCTION count_change();
"""
LOCK_PART = "UPDATE tally SET changes = changes WHERE part = %(part)s"
WAITING = "SELECT FROM pg_locks WHERE NOT granted"

# Every third statement that changes tasks fails, with one of these after the other.
TROUBLE = """
CREATE SEQUENCE trouble;
CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    n bigint := nextval('trouble');
    states text[] := '{40001,40P01,55P03,57014,53100,53200,53400,57P01,08006,25006}';
BEGIN
    IF n % 3 = 0 THEN
        RAISE EXCEPTION 'it passes' USING ERRCODE = states[1 + n / 3 % cardinality(states)];
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER trouble BEFORE UPDATE ON scheduled_tasks FOR EACH STATEMENT EXECUTE FUNCTION trouble();
"""
FEWER = "SELECT FROM trouble WHERE last_value < %(statements)s"


def test_a_lock_on_the_table_is_waited_for(experiment: Experiment) -> None:
    with experiment.worker("w-1") as worker, closing(Table(experiment.table.dsn)) as person:
        held = experiment.submit(4, "/hold")
        experiment.receiver.wait_for(len(held), PATIENCE)
        person.sql("BEGIN")
        person.sql("LOCK TABLE scheduled_tasks IN ACCESS EXCLUSIVE MODE")
        worker.wait_for_line("poller loop tries again: canceling statement due to lock timeout")
        worker.wait_for_line("heartbeat loop tries again: canceling statement due to lock timeout")
        experiment.receiver.release()
        worker.wait_for_line("settler loop tries again: canceling statement due to lock timeout")
        person.sql("COMMIT")
        experiment.expect_work()
        experiment.wait_until_ended()
        assert worker.stop() == 0
    experiment.verify()


def test_a_deadlock_that_a_worker_is_the_victim_of_is_tried_again(experiment: Experiment) -> None:
    experiment.table.sql(TALLY)
    set_default(experiment.table.dsn, "deadlock_timeout = '10ms'")
    with experiment.worker("w-1") as worker, closing(Table(experiment.table.dsn)) as person:
        person.sql("SET deadlock_timeout = '1min'")
        tries = 0
        while tries < experiment.size or not worker.count("loop tries again: deadlock detected"):
            tries += 1
            person.sql("BEGIN")
            person.sql(LOCK_PART, part=1)
            experiment.submit(10)
            experiment.table.wait_for(lambda: experiment.table.sql(WAITING))
            person.sql(LOCK_PART, part=0)
            person.sql("COMMIT")
        experiment.expect_work()
        experiment.wait_until_ended()
        assert worker.stop() == 0
    experiment.verify()


def test_statements_that_fail_with_all_that_passes_are_tried_again(experiment: Experiment) -> None:
    experiment.table.sql(TROUBLE)
    with experiment.worker("w-1") as worker:
        while experiment.table.sql(
            "SELECT FROM trouble WHERE last_value < %(most)s", most=30 * experiment.size
        ):
            arrived = len(experiment.receiver.arrivals)
            experiment.submit(10)
            experiment.receiver.wait_for(arrived + 10, PATIENCE)
        experiment.wait_until_ended()
        assert worker.stop() == 0
    experiment.verify()


@pytest.mark.patient
def test_a_row_that_a_person_has_locked_keeps_no_other_and_is_not_lost(experiment: Experiment) -> None:
    """For longer than the stuck timeout, after which another worker would take it."""
    with (
        experiment.worker("w-1") as worker,
        experiment.worker("w-2") as other,
        closing(Table(experiment.table.dsn)) as person,
    ):
        (locked, *_) = experiment.submit(4, "/hold")
        experiment.receiver.wait_for(4, PATIENCE)
        person.sql("BEGIN")
        person.sql("SELECT FROM scheduled_tasks WHERE id = %(id)s FOR UPDATE", id=locked)
        experiment.submit(50, spread=STUCK_TIMEOUT)
        experiment.receiver.wait_for(4 + 50, PATIENCE)
        experiment.receiver.release()
        person.sql("SELECT pg_sleep(%(more)s)", more=STUCK_TIMEOUT / 2)
        assert experiment.table.row(locked)["status"] == "processing"
        person.sql("COMMIT")
        experiment.wait_until_ended()
        assert [worker.stop(), other.stop()] == [0, 0]
    experiment.verify()


@pytest.mark.patient
@pytest.mark.parametrize("isolation", ["read committed", "serializable"])
def test_transactions_of_people_in_any_order_cost_nothing(experiment: Experiment, isolation: str) -> None:
    set_default(experiment.table.dsn, f"default_transaction_isolation = '{isolation}'")
    count = int(TASKS * experiment.size)
    with experiment.worker("w-1") as one, experiment.worker("w-2") as two:
        with _people(experiment) as failures:
            experiment.submit(count, spread=SECONDS * experiment.size)
            experiment.submit(20, "/fails/2")
            experiment.receiver.wait_for(count // 2, PATIENCE)
        experiment.wait_until_ended()
        assert [one.stop(), two.stop()] == [0, 0]
        assert "Traceback" not in one.log + two.log
    assert set(failures) <= {"40001", "40P01"}
    experiment.verify()


@contextmanager
def _people(experiment: Experiment) -> Iterator[list[str]]:
    """People who lock rows in random order until the block ends; yields the SQLSTATEs they met."""
    failures: list[str] = []
    done = threading.Event()
    threads = [
        threading.Thread(target=_work, args=(experiment.table.dsn, experiment.random, done, failures))
        for _ in range(PEOPLE)
    ]
    for thread in threads:
        thread.start()
    try:
        yield failures
    finally:
        done.set()
        for thread in threads:
            thread.join()


def _work(dsn: str, random: Random, done: threading.Event, failures: list[str]) -> None:
    with closing(Table(dsn)) as table:
        while not done.is_set():
            try:
                table.sql("BEGIN")
                rows = [row["id"] for row in table.sql(SOME)]
                for task in random.sample(rows, len(rows)):
                    table.sql(TOUCH, id=task)
                    done.wait(PAUSE)
                table.sql("COMMIT")
                done.wait(PAUSE)
            except psycopg.Error as error:
                failures.append(error.sqlstate or "")
                table.sql("ROLLBACK")
