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
from psycopg import sql

from tests.chaos.experiment import STUCK_TIMEOUT, Experiment
from tests.processes import PATIENCE
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
    ((database,),) = (row.values() for row in experiment.table.sql("SELECT current_database()"))
    experiment.table.run(
        sql.SQL("ALTER DATABASE {} SET default_transaction_isolation = {}").format(
            sql.Identifier(database), sql.Literal(isolation)
        )
    )
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
