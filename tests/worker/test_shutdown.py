"""How a worker process ends."""

import signal
from collections import Counter
from pathlib import Path

import pytest
from psycopg.rows import DictRow

from tests.processes import worker
from tests.servers.http import refusing
from tests.tables import Table
from tests.worker.endpoint import Endpoint

SHUTDOWN = "Received signal terminated, initiating graceful shutdown..."


def hold(table: Table, endpoint: Endpoint, count: int) -> list[int]:
    return [table.insert("http_callback", {"url": f"{endpoint.url}/hold"}) for _ in range(count)]


@pytest.mark.parametrize(("number", "name"), [(signal.SIGTERM, "terminated"), (signal.SIGINT, "interrupt")])
def test_what_runs_is_finished_and_what_waits_stays_pending(
    number: signal.Signals, name: str, table: Table, endpoint: Endpoint, tmp_path: Path
) -> None:
    tasks = hold(table, endpoint, 500)
    with worker(table.dsn, tmp_path, WORKER_CONCURRENCY="2") as process:
        endpoint.wait_for(2)
        process.signal(number)
        process.wait_for_line(f"Received signal {name}, initiating graceful shutdown...")
        endpoint.release()
        assert process.wait() == 0
        assert "WARNING" not in process.log
        assert "ERROR" not in process.log
    rows = [table.row(task) for task in tasks]
    # Threads that are free again get more tasks until the claiming ends.
    done = len(endpoint.arrivals)
    assert 2 <= done < len(tasks) / 2
    assert Counter((row["status"], row["attempts"]) for row in rows) == {
        ("completed", 1): done,
        ("pending", 0): len(tasks) - done,
    }


def test_what_is_claimed_and_not_yet_due_is_handed_back(
    table: Table, endpoint: Endpoint, tmp_path: Path
) -> None:
    with worker(table.dsn, tmp_path) as process:
        # What became due while it starts would take all the room.
        process.wait_for_line("Successfully connected to database")
        table.sql(
            """
            INSERT INTO scheduled_tasks (task_type, payload, execute_at)
            SELECT 'http_callback', jsonb_build_object('url', %(url)s::text), now() + n * interval '0.01 s'
              FROM generate_series(1, 1000) n
            """,
            url=endpoint.url,
        )
        endpoint.wait_for(120)
        assert process.stop() == 0
        assert "WARNING" not in process.log
    (counts,) = table.sql(
        """
        SELECT count(*) FILTER (WHERE status = 'completed' AND attempts = 1
                                  AND started_at >= execute_at) AS done,
               count(*) FILTER (WHERE status = 'pending' AND attempts = 0) AS waiting,
               count(*) FILTER (WHERE status = 'pending' AND claim_seq > 0) AS handed_back
          FROM scheduled_tasks
        """
    )
    assert counts["done"] == len(endpoint.arrivals)
    assert counts["waiting"] == 1000 - counts["done"]
    assert counts["handed_back"] > 0


def test_an_idle_worker_ends_at_once(table: Table, tmp_path: Path) -> None:
    with worker(table.dsn, tmp_path, WORKER_POLLING_INTERVAL="30") as process:
        process.wait_for_line("[Cleaner] Restored 0, ")
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
    assert process.lines[-1].endswith(SHUTDOWN)


def test_a_task_that_outlives_the_grace_is_interrupted_and_tried_again(
    table: Table, endpoint: Endpoint, tmp_path: Path
) -> None:
    (task,) = hold(table, endpoint, 1)
    table.sql("UPDATE scheduled_tasks SET retry_delays = '{1 h}'")
    with worker(table.dsn, tmp_path, WORKER_SHUTDOWN_TIMEOUT="0.3") as process:
        endpoint.wait_for(1)
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        warned = process.wait_for_line("WARNING Interrupted after 0.3 s of grace: ")
        assert str(task) in warned
    row = table.row(task)
    assert (row["status"], row["attempts"]) == ("pending", 1)
    assert row["error_message"] == "interrupted by the shutdown of its worker, may have run"
    assert row["execute_at"] > row["updated_at"]


def test_a_task_without_attempts_left_that_outlives_the_grace_is_failed(
    table: Table, endpoint: Endpoint, tmp_path: Path
) -> None:
    (task,) = hold(table, endpoint, 1)
    table.sql("UPDATE scheduled_tasks SET max_attempts = 1")
    with worker(table.dsn, tmp_path, WORKER_SHUTDOWN_TIMEOUT="0") as process:
        endpoint.wait_for(1)
        assert process.stop() == 0
    row = table.row(task)
    assert (row["status"], row["attempts"]) == ("failed", 1)
    assert row["error_message"].startswith("interrupted ")


def test_heartbeats_go_on_during_the_grace(table: Table, endpoint: Endpoint, tmp_path: Path) -> None:
    (task,) = hold(table, endpoint, 1)
    with worker(table.dsn, tmp_path, WORKER_STUCK_TIMEOUT="5s") as process:
        endpoint.wait_for(1)
        process.signal(signal.SIGTERM)
        process.wait_for_line(SHUTDOWN)
        before = table.row(task)["updated_at"]
        table.wait_for(lambda: table.row(task)["updated_at"] > before)
        endpoint.release()
        assert process.wait() == 0
    assert table.row(task)["status"] == "completed"


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (signal.SIGTERM, signal.SIGTERM, 143),
        (signal.SIGINT, signal.SIGINT, 130),
        (signal.SIGTERM, signal.SIGINT, 130),
    ],
)
def test_a_second_signal_ends_it_at_once(
    first: signal.Signals,
    second: signal.Signals,
    code: int,
    table: Table,
    endpoint: Endpoint,
    tmp_path: Path,
) -> None:
    (task,) = hold(table, endpoint, 1)
    with worker(table.dsn, tmp_path) as process:
        endpoint.wait_for(1)
        process.signal(first)
        process.wait_for_line("initiating graceful shutdown...")
        process.signal(second)
        assert process.wait() == code
    assert table.row(task)["status"] == "processing"


@pytest.mark.parametrize("options", [(), ("--init-db",)])
def test_a_worker_that_waits_for_its_database_ends_too(options: tuple[str, ...], tmp_path: Path) -> None:
    with (
        refusing() as port,
        worker(f"postgresql://at:at@127.0.0.1:{port}/app", tmp_path, *options) as process,
    ):
        told = process.wait_for_line("Failed to connect to database: ")
        assert f"127.0.0.1:{port}/app: " in told
        assert "Connection refused" in told
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
    assert process.count(SHUTDOWN) == 1
    assert process.count("Failed to connect to database: ") == 1
    assert "Traceback" not in process.log


def test_a_signal_during_the_start_is_heard(table: Table, tmp_path: Path) -> None:
    with worker(table.dsn, tmp_path) as process:
        process.wait_for_line("[Worker w-1] Started")
        assert process.stop() == 0


def test_a_claim_that_waits_for_a_lock_is_not_made_once_its_worker_has_gone(
    table: Table, endpoint: Endpoint, tmp_path: Path
) -> None:
    with worker(table.dsn, tmp_path) as process:
        process.wait_for_line("Successfully connected to database")
        task = table.insert("http_callback", {"url": endpoint.url})
        table.wait(task, "completed")
        (soon,) = table.sql("SELECT now() + interval '1 s' AS instant")
        task = table.insert("http_callback", {"url": endpoint.url}, execute_at=soon["instant"])
        with table.transaction():
            table.sql("LOCK TABLE scheduled_tasks")
            table.wait_for(lambda: _waiting_claims(table))
            assert process.stop() == 0
            table.wait_for(lambda: not _waiting_claims(table), patience=3)
        row = table.row(task)
    assert (row["status"], row["claim_seq"]) == ("pending", 0)


def _waiting_claims(table: Table) -> list[DictRow]:
    return table.sql(
        "SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'scheduled_tasks'::regclass"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
