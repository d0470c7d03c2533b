"""One worker process, from the rows to the log."""

import json
import re
import signal
from contextlib import ExitStack
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from tests.entry_points import offering
from tests.processes import command, worker
from tests.tables import Table
from tests.worker.endpoint import Endpoint

SECOND = timedelta(seconds=1)


def test_every_row_ends_as_the_contract_says(table: Table, endpoint: Endpoint, tmp_path: Path) -> None:
    def callback(path: str, **columns: object) -> int:
        return table.insert("http_callback", {"url": f"{endpoint.url}{path}", "data": {"n": 1}}, **columns)

    fine = callback("/")
    flaky = callback("/fails/2", retry_delays=[SECOND / 10])
    gone = callback("/status/410")
    broken = callback("/status/500", max_attempts=2, retry_delays=[SECOND / 10])
    future = callback("/", execute_at="2100-01-01 00:00+00")
    late = callback("/", expires_at="2001-01-01 00:00+00")
    cancelled = callback("/", status="cancelled")
    invalid = table.insert("http_callback", {"url": "ftp://example.org/"})
    unknown = table.insert("teleport", max_attempts=1)
    with worker(table.dsn, tmp_path, WORKER_POLLING_INTERVAL="0.1") as process:
        done = table.wait(fine, "completed")
        assert (done["attempts"], done["error_message"], done["result"]["status"]) == (1, None, 200)
        assert done["locked_by"].startswith("w-1/")
        assert done["execute_at"] <= done["started_at"] <= done["completed_at"] <= done["updated_at"]
        done = table.wait(flaky, "completed")
        assert (done["attempts"], done["error_message"]) == (3, None)
        assert done["original_execute_at"] < done["execute_at"]
        done = table.wait(broken, "failed")
        assert (done["attempts"], done["completed_at"]) == (2, None)
        assert done["error_message"].startswith("HTTP 500 from 127.0.0.1:")
        assert table.wait(gone, "failed")["error_message"].startswith("HTTP 410 from 127.0.0.1:")
        assert table.wait(late, "failed")["error_message"] == "expired: not started by 2001-01-01 00:00:00Z"
        assert "url" in table.wait(invalid, "failed")["error_message"]
        assert "teleport" in table.wait(unknown, "failed")["error_message"]
        assert table.row(future)["status"] == "pending"
        assert table.row(cancelled)["status"] == "cancelled"
        assert process.stop() == 0
    assert endpoint.attempts() == {fine: 1, flaky: 3, gone: 1, broken: 2}


def test_the_log_tells_what_people_search_for(table: Table, endpoint: Endpoint, tmp_path: Path) -> None:
    stuck = table.insert("email", {"to": "nobody"}, status="processing")
    doomed = table.insert("email", {"to": "nobody"}, status="processing", max_attempts=1)
    for task in (stuck, doomed):
        table.age(task, 3600)
    task = table.insert("http_callback", {"url": f"{endpoint.url}/status/410"})
    with worker(table.dsn, tmp_path, WORKER_POLLING_INTERVAL="0.5") as process:
        process.wait_for_line("Successfully connected to database")
        process.wait_for_line(
            "[Worker w-1] Started with polling interval 0.5s, batch size 10, 32 threads, task types: all"
        )
        process.wait_for_line("[Cleaner] Started with interval 300s, stuck timeout 300s")
        process.wait_for_line(
            f"[Cleaner] Restored stuck task {stuck} (lost: an unknown worker gave no heartbeat"
        )
        process.wait_for_line(f"[Cleaner] Marked task {doomed} as failed (lost: ")
        process.wait_for_line("[Cleaner] Restored 1, failed 1, expired 0, deleted 0 tasks")
        assert process.wait_for_line("[Worker w-1] Found ").endswith(" tasks to process")
        process.wait_for_line(f"[Executor] Task {task} failed: HTTP 410 from 127.0.0.1:")
        failed = process.wait_for_line(f"[Executor] Task {stuck} failed: invalid payload: to: ")
        assert failed.endswith("(email, attempt 2 of 5, for good)")
        process.stop()
    assert process.count("Successfully connected to database") == 1
    assert process.lines[-1].endswith("Received signal terminated, initiating graceful shutdown...")


def test_what_was_found_is_told_at_most_once_a_second_and_summed(table: Table, tmp_path: Path) -> None:
    def told() -> list[str]:
        return [line for line in process.log.splitlines() if line.endswith(" tasks to process")]

    table.sql("INSERT INTO scheduled_tasks (task_type) SELECT 'email' FROM generate_series(1, 200)")
    with worker(table.dsn, tmp_path) as process:
        table.wait_for(lambda: sum(int(line.split("Found ")[1].split()[0]) for line in told()) == 200)
        process.stop()
    times = [datetime.fromisoformat(line.split()[0]) for line in told()]
    assert len(times) > 1
    assert all(later - earlier >= SECOND * 0.99 for earlier, later in pairwise(times))


@pytest.mark.alters
def test_every_line_in_json_names_the_worker_and_the_task_that_it_is_about(
    table: Table, endpoint: Endpoint, tmp_path: Path
) -> None:
    table.sql(
        "ALTER TABLE scheduled_tasks ADD CONSTRAINT own_rule"
        " CHECK (task_type <> 'rabbitmq' OR status <> 'failed' OR error_message LIKE 'the result%%')"
    )
    stuck = table.insert("email", {"to": "nobody"}, status="processing")
    doomed = table.insert("email", {"to": "nobody"}, status="processing", max_attempts=1)
    for task in (stuck, doomed):
        table.age(task, 3600)
    unknown = table.insert("teleport", max_attempts=1)
    refused = table.insert("rabbitmq", {"queue": ""})
    raises = table.insert("raises", max_attempts=1)
    held = table.insert("http_callback", {"url": f"{endpoint.url}/hold"})
    path = offering(tmp_path, raises="tests.worker.plugins:Raises")
    with worker(table.dsn, tmp_path, LOG_FORMAT="json", PYTHONPATH=path) as process:
        endpoint.wait_for(1)
        table.sql("UPDATE scheduled_tasks SET status = 'cancelled' WHERE id = %(id)s", id=held)
        endpoint.release()
        late = table.insert("email", {"to": "nobody"}, expires_at="2001-01-01Z")
        for text in (
            f"[Cleaner] Restored stuck task {stuck} ",
            f"[Cleaner] Marked task {doomed} as failed",
            f"[Executor] Task {stuck} failed",
            f"[Executor] Task {unknown} failed",
            f"[Executor] Task {held} was changed",
            f"[Executor] Surprise in task {raises}",
            "a line of the plug-in's own",
            f"PostgreSQL refuses the result of task {refused}",
            f"Task {late} expired before it could start",
        ):
            process.wait_for_line(text)
        process.signal_workers(signal.SIGKILL)
        process.wait_for_line("[Parent] Worker process w-1 ")
        process.stop()
    lines = [json.loads(line) for line in process.lines]
    assert {line["worker"] for line in lines} == {"w-1"}
    types = {row["id"]: row["task_type"] for row in table.sql("SELECT id, task_type FROM scheduled_tasks")}
    for line in lines:
        if found := re.search(r"\b[Tt]ask (\d+)", line["message"]):
            task = int(found[1])
            assert (line["task_id"], line["task_type"]) == (task, types[task])
            assert line["attempt"] >= 1
    (own,) = (line for line in lines if line["message"] == "a line of the plug-in's own")
    assert (own["task_id"], own["task_type"], own["attempt"]) == (raises, "raises", 1)
    again = next(line for line in lines if f"[Executor] Task {stuck} failed" in line["message"])
    assert (again["attempt"], again["context"]) == (2, "{}")


def test_a_task_starts_at_its_instant_whatever_the_polling_interval(
    table: Table, endpoint: Endpoint, tmp_path: Path
) -> None:
    task = table.insert("http_callback", {"url": endpoint.url}, execute_at="2100-01-01 00:00+00")
    table.sql("UPDATE scheduled_tasks SET execute_at = now() + interval '3 s'")
    with worker(table.dsn, tmp_path, WORKER_POLLING_INTERVAL="30"):
        done = table.wait(task, "completed")
    assert timedelta(0) <= done["started_at"] - done["execute_at"] < SECOND / 2


def test_a_retry_starts_at_its_instant_whatever_the_polling_interval(
    table: Table, endpoint: Endpoint, tmp_path: Path
) -> None:
    task = table.insert("http_callback", {"url": f"{endpoint.url}/fails/1"}, retry_delays=[SECOND / 2])
    with worker(table.dsn, tmp_path, WORKER_POLLING_INTERVAL="30"):
        done = table.wait(task, "completed")
    assert timedelta(0) <= done["started_at"] - done["execute_at"] < SECOND / 2


def test_a_task_that_is_moved_to_now_is_noticed_within_the_polling_interval(
    table: Table, endpoint: Endpoint, tmp_path: Path
) -> None:
    task = table.insert("http_callback", {"url": endpoint.url}, execute_at="2100-01-01 00:00+00")
    with worker(table.dsn, tmp_path, WORKER_POLLING_INTERVAL="0.5") as process:
        process.wait_for_line("Successfully connected to database")
        table.sql("UPDATE scheduled_tasks SET execute_at = now()")
        done = table.wait(task, "completed")
    assert done["started_at"] - done["execute_at"] < SECOND


def test_a_task_that_is_cancelled_while_it_runs_stays_cancelled(
    table: Table, endpoint: Endpoint, tmp_path: Path
) -> None:
    task = table.insert("http_callback", {"url": f"{endpoint.url}/hold"})
    with worker(table.dsn, tmp_path) as process:
        endpoint.wait_for(1)
        table.sql("UPDATE scheduled_tasks SET status = 'cancelled'")
        endpoint.release()
        process.wait_for_line(f"Task {task} was changed, given away or written already")
        assert process.stop() == 0
    row = table.row(task)
    assert (row["status"], row["attempts"], row["result"]) == ("cancelled", 0, None)


def test_a_worker_for_some_types_touches_no_others(table: Table, endpoint: Endpoint, tmp_path: Path) -> None:
    others = [
        table.insert("email", {"to": "nobody"}),
        table.insert("email", {"to": "nobody"}, expires_at="2001-01-01 00:00+00"),
        table.insert("email", {"to": "nobody"}, status="processing"),
        table.insert("email", {"to": "nobody"}, status="completed"),
    ]
    table.age(others[2], 3600)
    table.sql("UPDATE scheduled_tasks SET updated_at = '2001-01-01' WHERE status = 'completed'")
    before = [table.row(task) for task in others]
    mine = table.insert("http_callback", {"url": endpoint.url}, status="processing")
    table.age(mine, 3600)
    settings = {"WORKER_TASK_TYPES": "http_callback,rabbitmq", "WORKER_RETENTION": "1d"}
    with worker(table.dsn, tmp_path, **settings, WORKER_POLLING_INTERVAL="0.2") as process:
        process.wait_for_line("[Cleaner] Restored 1, failed 0, expired 0, deleted 0 tasks")
        assert table.wait(mine, "completed")["attempts"] == 2
        assert "task types: http_callback, rabbitmq" in process.log
        process.stop()
    assert [table.row(task) for task in others] == before


def test_two_workers_of_one_name_do_each_task_once(table: Table, endpoint: Endpoint, tmp_path: Path) -> None:
    for _ in range(6):
        table.insert("http_callback", {"url": f"{endpoint.url}/hold"})
    with ExitStack() as stack:
        workers = [
            stack.enter_context(worker(table.dsn, tmp_path, WORKER_CONCURRENCY="3", WORKER_BATCH_SIZE="3"))
            for _ in range(2)
        ]
        assert set(endpoint.attempts().values()) <= {1}
        endpoint.wait_for(6)
        holders = {row["locked_by"] for row in table.sql("SELECT locked_by FROM scheduled_tasks")}
        assert len(holders) == 2
        assert {holder.split("/")[0] for holder in holders} == {"w-1"}
        endpoint.release()
        table.wait_for(lambda: not table.sql("SELECT FROM scheduled_tasks WHERE status <> 'completed'"))
        assert [process.stop() for process in workers] == [0, 0]
    assert set(endpoint.attempts().values()) == {1}


@pytest.mark.parametrize("name", ["grün ☃", "a%s{b}'\"\\", "w" * 300])
def test_a_worker_may_have_any_name(name: str, table: Table, tmp_path: Path) -> None:
    task = table.insert("email", {"to": "nobody"})
    with worker(table.dsn, tmp_path, WORKER_ID=name) as process:
        assert table.wait(task, "failed")["locked_by"].startswith(f"{name}/")
        process.wait_for_line(f"[Worker {name}] Started")
        assert process.stop() == 0


def test_a_table_that_is_missing_at_the_start_is_waited_for(empty_dsn: str, tmp_path: Path) -> None:
    with worker(empty_dsn, tmp_path) as process:
        process.wait_for_line(
            "Failed to connect to database: there is no table scheduled_tasks; at-worker init-db creates it"
        )
        assert command(tmp_path, "init-db", DATABASE_URL=empty_dsn).returncode == 0
        process.wait_for_line("Successfully connected to database")
        assert process.stop() == 0
    assert process.count("Failed to connect to database") == 1
