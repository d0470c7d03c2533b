"""The parent process and its worker processes."""

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from at_worker.supervisor import process as worker_process
from at_worker.supervisor.process import WorkerProcess
from at_worker.supervisor.slot import pause_after
from tests.entry_points import offering
from tests.processes import PATIENCE, Worker, command, worker
from tests.tables import Table
from tests.worker.endpoint import Endpoint
from tests.worker.test_outage import free_port, probe

SHUTDOWN = "Received signal terminated, initiating graceful shutdown..."


def hold(table: Table, endpoint: Endpoint, count: int, **columns: object) -> list[int]:
    return [table.insert("http_callback", {"url": f"{endpoint.url}/hold"}, **columns) for _ in range(count)]


def holders(table: Table) -> set[str]:
    rows = table.sql("SELECT DISTINCT locked_by FROM scheduled_tasks WHERE status = 'processing'")
    return {row["locked_by"] for row in rows}


def until(look: Callable[[], bool]) -> None:
    """Wait for what no log line and no row tells."""
    end = time.monotonic() + PATIENCE
    while not look():
        assert time.monotonic() < end
        time.sleep(0.01)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill_holder(process: Worker, holder: str) -> float:
    """Kill one worker process by the name in `locked_by`; returns when."""
    os.kill(process.processes()[holder.rpartition("/")[2]], signal.SIGKILL)
    return time.monotonic()


def test_two_processes_have_names_of_their_own_and_both_claim(
    table: Table, endpoint: Endpoint, tmp_path: Path
) -> None:
    with worker(table.dsn, tmp_path, "--processes", "2", WORKER_CONCURRENCY="2") as process:
        for label in ("w-1.1", "w-1.2"):
            process.wait_for_line(f"[Worker {label}] Started")
        hold(table, endpoint, 4)
        endpoint.wait_for(4)
        assert {name.split("/")[0] for name in holders(table)} == {"w-1.1", "w-1.2"}
        assert {name.split("/")[1] for name in holders(table)} == set(process.processes())
        endpoint.release()
        assert process.stop() == 0


def test_the_one_process_has_the_name_of_the_worker(table: Table, endpoint: Endpoint, tmp_path: Path) -> None:
    hold(table, endpoint, 1)
    with worker(table.dsn, tmp_path) as process:
        endpoint.wait_for(1)
        assert holders(table) == {f"w-1/{boot_id}" for boot_id in process.processes()}


def test_the_tasks_of_a_killed_process_run_again_within_a_second_or_so(
    table: Table, endpoint: Endpoint, tmp_path: Path
) -> None:
    tasks = hold(table, endpoint, 3)
    with worker(table.dsn, tmp_path, WORKER_POLLING_INTERVAL="30") as process:
        endpoint.wait_for(3)
        (holder,) = holders(table)
        killed = kill_holder(process, holder)
        endpoint.wait_for(6)
        took = time.monotonic() - killed
        assert took < 3
        endpoint.release()
        for task in tasks:
            done = table.wait(task, "completed")
            assert (done["attempts"], done["claim_seq"]) == (2, 2)
            process.wait_for_line(
                f"[Cleaner] Restored stuck task {task} "
                f"(lost: worker {holder} was killed by SIGKILL, may have run)"
            )
        assert re.search(
            r"\[Parent\] Worker process w-1 \(pid \d+\) was killed by SIGKILL; another starts at once",
            process.log,
        )
        assert process.stop() == 0
    assert endpoint.attempts() == dict.fromkeys(tasks, 2)


def test_the_other_process_goes_on_and_takes_over(table: Table, endpoint: Endpoint, tmp_path: Path) -> None:
    settings = {"WORKER_CONCURRENCY": "4", "WORKER_BATCH_SIZE": "2", "WORKER_POLLING_INTERVAL": "30"}
    with worker(table.dsn, tmp_path, "--processes", "2", **settings) as process:
        for label in ("w-1.1", "w-1.2"):
            process.wait_for_line(f"[Worker {label}] Started")
        tasks = hold(table, endpoint, 4)
        endpoint.wait_for(4)
        victim = min(holders(table))
        lost = {
            row["id"] for row in table.sql("SELECT id FROM scheduled_tasks WHERE locked_by = %(h)s", h=victim)
        }
        kill_holder(process, victim)
        endpoint.wait_for(4 + len(lost))
        endpoint.release()
        for task in tasks:
            assert table.wait(task, "completed")["attempts"] == (2 if task in lost else 1)
        until(lambda: len(process.processes()) == 2)
        assert process.stop() == 0
    assert endpoint.attempts() == {task: 2 if task in lost else 1 for task in tasks}


def test_a_task_that_was_lost_before_waits_for_its_retry_delay(
    table: Table, endpoint: Endpoint, tmp_path: Path
) -> None:
    (task,) = hold(table, endpoint, 1, retry_delays=[timedelta(hours=1)])
    holder = ""
    with worker(table.dsn, tmp_path) as process:
        for attempt in (1, 2):
            endpoint.wait_for(attempt)
            (holder,) = holders(table)
            kill_holder(process, holder)
        row = table.wait_for(lambda: row if (row := table.row(task))["attempts"] == 2 else None)
    assert row["status"] == "pending"
    assert row["execute_at"] - row["updated_at"] >= timedelta(hours=1)
    assert row["error_message"] == f"lost: worker {holder} was killed by SIGKILL, may have run"


def test_a_task_without_attempts_left_is_failed_when_its_process_dies(
    table: Table, endpoint: Endpoint, tmp_path: Path
) -> None:
    (task,) = hold(table, endpoint, 1, max_attempts=1)
    with worker(table.dsn, tmp_path) as process:
        endpoint.wait_for(1)
        process.signal_workers(signal.SIGKILL)
        assert table.wait(task, "failed")["attempts"] == 1
        process.wait_for_line(f"[Cleaner] Marked task {task} as failed (lost: worker w-1/")
    assert endpoint.attempts() == {task: 1}


def test_only_the_claims_of_the_dead_process_are_handed_back(
    table: Table, endpoint: Endpoint, tmp_path: Path
) -> None:
    (task,) = hold(table, endpoint, 1)
    foreign = table.insert("email", status="processing", locked_by="w-1/of-another-boot")
    with worker(table.dsn, tmp_path) as process:
        endpoint.wait_for(1)
        process.signal_workers(signal.SIGKILL)
        table.wait_for(lambda: table.row(task)["attempts"] == 1)
    row = table.row(foreign)
    assert (row["status"], row["attempts"]) == ("processing", 0)


def test_a_killed_parent_leaves_no_process_and_no_task_behind(
    table: Table, endpoint: Endpoint, tmp_path: Path
) -> None:
    tasks = hold(table, endpoint, 12)
    settings = {"WORKER_CONCURRENCY": "2", "WORKER_BATCH_SIZE": "5"}
    with worker(table.dsn, tmp_path, "--processes", "2", **settings) as process:
        endpoint.wait_for(4)
        pids = process.processes().values()
        process.signal(signal.SIGKILL)
        process.wait_for_line("The parent process is gone, initiating graceful shutdown...", 2)
        endpoint.release()
        assert process.wait() == -signal.SIGKILL
        until(lambda: not any(map(running, pids)))
    rows = [table.row(task) for task in tasks]
    assert {(row["status"], row["attempts"]) for row in rows} <= {("completed", 1), ("pending", 0)}
    assert sum(row["status"] == "completed" for row in rows) == len(endpoint.arrivals) >= 4


def test_a_signal_finishes_the_tasks_of_all_processes_and_is_told_once(
    table: Table, endpoint: Endpoint, tmp_path: Path
) -> None:
    with worker(table.dsn, tmp_path, "--processes", "2", WORKER_CONCURRENCY="2") as process:
        for label in ("w-1.1", "w-1.2"):
            process.wait_for_line(f"[Worker {label}] Started")
        tasks = hold(table, endpoint, 4)
        endpoint.wait_for(4)
        process.signal(signal.SIGTERM)
        process.wait_for_line(SHUTDOWN)
        endpoint.release()
        assert process.wait() == 0
        assert "WARNING" not in process.log
    assert {(row["status"], row["attempts"]) for row in map(table.row, tasks)} == {("completed", 1)}
    assert process.count("initiating graceful shutdown...") == 1


def test_a_signal_to_every_process_of_the_service_is_one_signal(
    table: Table, endpoint: Endpoint, tmp_path: Path
) -> None:
    (task,) = hold(table, endpoint, 1)
    with worker(table.dsn, tmp_path) as process:
        endpoint.wait_for(1)
        process.signal(signal.SIGTERM)
        process.signal_workers(signal.SIGTERM)
        process.wait_for_line(SHUTDOWN)
        endpoint.release()
        assert process.wait() == 0
    assert table.row(task)["status"] == "completed"
    assert process.count("initiating graceful shutdown...") == 1


def test_a_second_signal_kills_the_processes_too(table: Table, endpoint: Endpoint, tmp_path: Path) -> None:
    hold(table, endpoint, 4)
    with worker(table.dsn, tmp_path, "--processes", "2") as process:
        endpoint.wait_for(4)
        pids = process.processes().values()
        process.signal(signal.SIGTERM)
        process.wait_for_line(SHUTDOWN)
        process.signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM
        until(lambda: not any(map(running, pids)))


def test_a_process_that_is_killed_while_it_stops_gives_its_exit_code_and_its_tasks(
    table: Table, endpoint: Endpoint, tmp_path: Path
) -> None:
    (task,) = hold(table, endpoint, 1)
    with worker(table.dsn, tmp_path) as process:
        endpoint.wait_for(1)
        process.signal(signal.SIGTERM)
        process.wait_for_line(SHUTDOWN)
        process.signal_workers(signal.SIGKILL)
        assert process.wait() == 128 + signal.SIGKILL
    row = table.row(task)
    assert (row["status"], row["attempts"]) == ("pending", 1)


def test_a_process_that_is_asked_to_end_makes_room_for_another(
    table: Table, endpoint: Endpoint, tmp_path: Path
) -> None:
    (task,) = hold(table, endpoint, 1)
    with worker(table.dsn, tmp_path) as process:
        endpoint.wait_for(1)
        process.signal_workers(signal.SIGTERM)
        endpoint.release()
        process.wait_for_line("ended with exit code 0; another starts at once")
        process.wait_for_line("[Worker w-1] Started", 2)
        assert process.stop() == 0
    assert table.row(task)["attempts"] == 1


def test_a_process_without_a_thread_that_can_be_trusted_is_replaced(table: Table, tmp_path: Path) -> None:
    task = table.insert("stubborn", retry_delays=[timedelta(hours=1)])
    settings = {"WORKER_TASK_TIMEOUT": "0.2", "WORKER_CONCURRENCY": "1"}
    path = offering(tmp_path, stubborn="tests.chaos.plugins:NeverReturns")
    with worker(table.dsn, tmp_path, PYTHONPATH=path, **settings) as process:
        process.wait_for_line("ended with exit code 4; another starts at once")
        process.wait_for_line("[Worker w-1] Started", 2)
        assert process.stop() == 0
    row = table.row(task)
    assert (row["status"], row["attempts"]) == ("pending", 1)
    assert row["error_message"].startswith("timed out after ")


def test_a_terminal_signals_the_parent_alone(table: Table, tmp_path: Path) -> None:
    with worker(table.dsn, tmp_path) as process:
        process.wait_for_line("[Worker w-1] Started")
        (pid,) = process.processes().values()
        assert os.getsid(pid) == pid


def test_a_process_that_dies_again_and_again_is_started_with_growing_pauses(
    table: Table, tmp_path: Path
) -> None:
    with worker(table.dsn, tmp_path) as process:
        for number, pause in enumerate(("at once", "in 1 s", "in 2 s"), 1):
            process.wait_for_line("[Worker w-1] Started", number)
            process.signal_workers(signal.SIGKILL)
            assert process.wait_for_line("[Parent] Worker process", number).endswith(f"starts {pause}")
        stopped = time.monotonic()
        assert process.stop() == 0
        assert time.monotonic() - stopped < 2  # the pause is not sat out


def test_the_pauses_end_at_half_a_minute() -> None:
    assert [pause_after(deaths) for deaths in range(1, 10)] == [0, 1, 2, 4, 8, 16, 30, 30, 30]


def test_wrong_settings_of_an_executor_are_told_once_for_all_processes(tmp_path: Path) -> None:
    settings = {"DATABASE_URL": "postgresql://127.0.0.1:1/app", "RABBITMQ_URL": "amqp://a/?heartbeat=often"}
    told = command(tmp_path, "run", "--processes", "3", **settings)
    assert told.returncode == 2
    assert told.stderr.count("RABBITMQ_URL: ") == 1
    assert told.stderr.startswith("Error: cannot start")


def test_a_database_that_refuses_one_ends_all(dsn: str, tmp_path: Path) -> None:
    with worker(re.sub(r"//[^@]+@", "//nobody:hunter2@", dsn), tmp_path, "--processes", "2") as process:
        assert process.wait() == 3
        assert "refuses the login: " in process.log
        assert "hunter2" not in process.log


def test_ready_means_that_every_process_is(table: Table, endpoint: Endpoint, tmp_path: Path) -> None:
    port = free_port()
    hold(table, endpoint, 1)
    with worker(table.dsn, tmp_path, "--processes", "2", METRICS_PORT=str(port)) as process:
        endpoint.wait_for(1)
        until(lambda: probe(port, "/readyz") == (200, "ok"))
        assert probe(port, "/healthz") == (200, "ok")
        process.signal_workers(signal.SIGSTOP)
        frozen = (503, "w-1.1: it does not answer; w-1.2: it does not answer")
        until(lambda: probe(port, "/readyz") == frozen)
        assert probe(port, "/healthz") == (200, "ok")
        process.signal_workers(signal.SIGCONT)
        until(lambda: probe(port, "/readyz") == (200, "ok"))
        process.signal_workers(signal.SIGKILL)
        until(lambda: "w-1.1: it is " in probe(port, "/readyz")[1])
        until(lambda: probe(port, "/readyz") == (200, "ok"))
        process.signal(signal.SIGTERM)
        process.wait_for_line(SHUTDOWN)


def test_a_worker_that_stops_is_not_ready(table: Table, endpoint: Endpoint, tmp_path: Path) -> None:
    port = free_port()
    hold(table, endpoint, 1)
    with worker(table.dsn, tmp_path, METRICS_PORT=str(port)) as process:
        endpoint.wait_for(1)
        process.signal(signal.SIGTERM)
        process.wait_for_line(SHUTDOWN)
        assert probe(port, "/readyz") == (503, "stopping")


@pytest.fixture
def alone(table: Table) -> Iterator[WorkerProcess]:
    """A worker process that is ready; the test is its parent."""
    process = WorkerProcess("w-1", {"DATABASE_URL": table.dsn})
    try:
        until(lambda: process.report().unready is None)
        yield process
    finally:
        process.kill()
        process.wait()


def freeze(process: WorkerProcess) -> None:
    """Returns when it is frozen, which takes a moment while it runs."""
    os.kill(process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)


def test_a_process_that_was_frozen_for_hours_hears_when_it_wakes_that_it_is_to_stop(
    alone: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    freeze(alone)
    monkeypatch.setattr(worker_process, "ANSWER_TIMEOUT", 0.001)
    for _ in range(1000):
        assert alone.report().unready == "it does not answer"
    asked = time.monotonic()
    alone.stop()
    assert time.monotonic() - asked < 0.1
    os.kill(alone.pid, signal.SIGCONT)
    waiting = threading.Thread(target=alone.wait, daemon=True)
    waiting.start()
    waiting.join(PATIENCE)
    assert not waiting.is_alive()


def test_a_process_that_was_asked_in_vain_answers_anew_when_it_wakes(
    alone: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    freeze(alone)
    with monkeypatch.context() as short:
        short.setattr(worker_process, "ANSWER_TIMEOUT", 0.001)
        assert alone.report().unready == "it does not answer"
    os.kill(alone.pid, signal.SIGCONT)
    assert alone.report().unready is None
    assert alone.report().unready is None


@pytest.mark.parametrize("number", ["0", "-1", "two"])
def test_a_number_of_processes_that_makes_no_sense_is_refused(number: str, tmp_path: Path) -> None:
    told = command(tmp_path, "run", "--processes", number)
    assert told.returncode == 2
    assert told.stderr.splitlines()[-1].startswith("Error: Invalid value for '--processes': ")


def test_a_worker_process_is_not_started_by_hand(tmp_path: Path) -> None:
    told = command(tmp_path, "worker", "0123456789ab")
    assert told.returncode == 2
    assert told.stderr.splitlines()[-1] == "Error: only at-worker run starts this command"
