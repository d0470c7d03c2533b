"""A statement that gets no answer is given up; what is behind the connection may be alive or not."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import LiteralString

import psycopg
import pytest

from at_worker.config import load
from at_worker.outcome import Settlement, Status
from at_worker.store.database import Database
from at_worker.store.errors import Away, Unavailable
from at_worker.store.queue import Queue
from tests.servers.tcp_proxy import RESULT, Proxy, database_proxy
from tests.tables import PATIENCE, Table

# Half of the least that people may set; two fifths of it are the deadline.
STUCK = 2.5
DEADLINE = 1.0


@dataclass(frozen=True, slots=True)
class Far:
    """The database at the far side of a network, and a queue on it whose connection is made."""

    proxy: Proxy
    database: Database
    queue: Queue
    told: list[Away | None]


@pytest.fixture
def far(table: Table) -> Iterator[Far]:
    told: list[Away | None] = []
    with database_proxy(table.dsn) as (proxy, dsn):
        settings = replace(load({"DATABASE_URL": dsn}, ()), stuck_timeout=STUCK)
        with closing(Database(settings, told.append)) as database:
            database.open()
            queue = Queue(database, "w-1/boot", None, survey_interval=0)
            queue.claim(10, 0)
            yield Far(proxy, database, queue, told)
            proxy.thaw()


def test_a_heartbeat_without_an_answer_leaves_time_for_another() -> None:
    for stuck in ("5s", "20s", "1m", "5m", "1h"):
        settings = load({"WORKER_STUCK_TIMEOUT": stuck}, ())
        lost = settings.heartbeat_interval + settings.statement_deadline
        assert lost + settings.heartbeat_interval <= settings.stuck_timeout


def test_a_statement_on_a_server_that_hangs_is_an_outage_after_the_deadline(far: Far) -> None:
    far.proxy.freeze()
    began = time.monotonic()
    with pytest.raises(Away, match=f"no answer to a statement within {DEADLINE:g} s"):
        far.queue.claim(10, 1)
    assert DEADLINE <= time.monotonic() - began < DEADLINE + 1
    assert isinstance(far.told[-1], Away)


def test_it_works_again_when_the_server_does(far: Far) -> None:
    far.proxy.freeze()
    with pytest.raises(Away):
        far.queue.claim(10, 1)
    far.proxy.thaw()
    far.queue.claim(10, 2)
    assert far.told[-1] is None


def test_connections_that_went_half_open_together_cost_one_deadline(far: Far) -> None:
    entered = threading.Barrier(4)

    def use() -> None:
        with far.database.session() as session:
            entered.wait(PATIENCE)
            session.rows("SELECT 1")

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    entered.wait(PATIENCE)
    for thread in threads:
        thread.join(PATIENCE)
    assert far.proxy.connections >= 3
    far.proxy.half_open()
    began = time.monotonic()
    with pytest.raises(Away):
        far.queue.claim(10, 1)
    far.queue.claim(10, 2)
    assert time.monotonic() - began < DEADLINE + 1


@pytest.mark.parametrize("reset", [False, True], ids=["silent", "reset"])
def test_a_claim_whose_reply_was_lost_can_be_given_back(far: Far, table: Table, reset: bool) -> None:
    task = table.insert()
    lost = far.proxy.lose_reply(b"w-1/boot", reset=reset)
    with pytest.raises(Unavailable):
        far.queue.claim(10, 1)
    assert lost.happened.is_set()
    assert table.row(task)["status"] == "processing"
    assert far.queue.hand_back_unheld([]) == [task]


def test_a_result_whose_reply_was_lost_is_written_once(far: Far, table: Table) -> None:
    task = table.insert()
    (claimed,) = far.queue.claim(10, 1).tasks
    end = Settlement(claimed, Status.COMPLETED, attempted=True)
    far.proxy.lose_reply(RESULT)
    with pytest.raises(Away):
        far.queue.settle([end])
    far.queue.settle([end])
    row = table.row(task)
    assert (row["status"], row["attempts"]) == ("completed", 1)


def test_a_slow_network_is_borne(far: Far, table: Table) -> None:
    far.proxy.delay = 0.1
    task = table.insert()
    assert [claimed.id for claimed in far.queue.claim(10, 1).tasks] == [task]


def test_a_table_that_somebody_has_locked_is_no_outage(far: Far, table: Table) -> None:
    before = len(far.told)
    with psycopg.connect(table.dsn) as locking:
        locking.execute("LOCK TABLE scheduled_tasks")
        with pytest.raises(Unavailable, match="lock timeout") as caught:
            far.queue.claim(10, 1)
    assert not isinstance(caught.value, Away)
    assert not any(far.told[before:])
    assert far.proxy.connections == 1


def test_the_transaction_of_a_worker_that_is_paused_ends(far: Far, table: Table) -> None:
    task = table.insert()

    def pause() -> None:
        with far.database.session() as session, session.transaction():
            session.rows("SELECT FROM {tasks} WHERE id = %(id)s FOR UPDATE", {"id": task})
            table.sql("UPDATE scheduled_tasks SET priority = 9 WHERE id = %(id)s", id=task)
            session.rows("SELECT 1")

    with pytest.raises(Away):
        pause()
    assert table.row(task)["priority"] == 9


def test_a_person_may_wait_for_as_long_as_it_takes(table: Table) -> None:
    limits: LiteralString = """
        SELECT current_setting('statement_timeout'), current_setting('lock_timeout'),
               current_setting('idle_in_transaction_session_timeout')
    """
    with Database(table.settings(WORKER_STUCK_TIMEOUT="5s")).direct() as session:
        assert "0" not in session.rows(limits)[0]
        with session.transaction():
            session.take_time()
            assert session.rows(limits) == [("0", "0", "0")]
        assert list(session.stream(limits)) == [("0", "0", "0")]
