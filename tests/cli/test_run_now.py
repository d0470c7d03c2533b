import json
import threading
from collections.abc import Iterator

import pytest

from tests.cli.conftest import AtWorker
from tests.processes import worker
from tests.tables import Table
from tests.worker.endpoint import Endpoint

LATER = "2099-11-27 16:00+00"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as started:
        yield started


@pytest.fixture(scope="module")
def crew(shared_table: Table, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    """A table with a worker."""
    with worker(shared_table.dsn, tmp_path_factory.mktemp("crew")) as process:
        process.wait_for_line("Started with polling interval")
        yield shared_table
        assert process.stop() == 0


@pytest.mark.parametrize("status", ["pending", "failed", "cancelled"])
def test_a_worker_runs_it_and_what_came_of_it_is_printed(
    status: str, crew: Table, endpoint: Endpoint, at_worker: AtWorker
) -> None:
    task = crew.insert("http_callback", {"url": endpoint.url}, status=status, execute_at=LATER)
    told = at_worker("run-now", str(task), DATABASE_URL=crew.dsn)
    assert (told.exit_code, told.stderr) == (0, f"job {task} is due now\n")
    sentence, *result = told.stdout.splitlines()
    assert sentence.startswith(f"Task {task} was completed at ")
    assert json.loads("".join(result))["status"] == 200
    assert endpoint.attempts()[task] == 1


def test_scripts_get_the_row_afterwards(crew: Table, endpoint: Endpoint, at_worker: AtWorker) -> None:
    task = crew.insert("http_callback", {"url": endpoint.url}, execute_at=LATER)
    told = at_worker("run-now", str(task), "--json", DATABASE_URL=crew.dsn)
    row = json.loads(told.stdout)
    assert (row["id"], row["status"], row["attempts"], row["result"]["status"]) == (task, "completed", 1, 200)


@pytest.mark.parametrize(
    ("status", "sentence"),
    [(410, "failed at "), (503, "waits for attempt 2 of 5 until ")],
)
def test_a_failure_is_told_and_ends_with_1(
    status: int, sentence: str, crew: Table, endpoint: Endpoint, at_worker: AtWorker
) -> None:
    task = crew.insert("http_callback", {"url": f"{endpoint.url}/status/{status}"}, execute_at=LATER)
    told = at_worker("run-now", str(task), DATABASE_URL=crew.dsn)
    assert told.exit_code == 1
    assert told.stdout.startswith(f"Task {task} {sentence}")
    assert f'"status": {status}' in told.stdout


def test_of_a_task_that_runs_already_it_waits_for_the_end(crew: Table, at_worker: AtWorker) -> None:
    with Endpoint() as slow:
        task = crew.insert("http_callback", {"url": f"{slow.url}/hold"})
        crew.wait(task, "processing")
        slow.wait_for(1)
        threading.Timer(0.3, slow.release).start()
        told = at_worker("run-now", str(task), DATABASE_URL=crew.dsn)
    assert told.exit_code == 0
    assert told.stdout.startswith(f"Task {task} was completed at ")
    assert slow.attempts()[task] == 1


def test_why_nothing_happens_is_told_once_time_is_over(table: Table, at_worker: AtWorker) -> None:
    task = table.insert("teleport", execute_at=LATER)
    told = at_worker("run-now", str(task), "--wait", "0.1s", DATABASE_URL=table.dsn)
    assert told.exit_code == 1
    assert told.stdout.startswith(f"Task {task} has been due for ")


def test_what_it_waits_for_is_told_meanwhile(table: Table, at_worker: AtWorker) -> None:
    task = table.insert("email")
    told = at_worker("run-now", str(task), "--wait", "2.2s", DATABASE_URL=table.dsn)
    due, reason = told.stderr.splitlines()
    assert due == f"job {task} is due now"
    assert reason.endswith("but no worker is alive.")


def test_without_waiting_it_is_made_due_and_no_more(table: Table, at_worker: AtWorker) -> None:
    task = table.insert("teleport", status="failed", attempts=5)
    told = at_worker("run-now", str(task), "--wait", "0", DATABASE_URL=table.dsn)
    assert (told.exit_code, told.stdout, told.stderr) == (0, "", f"job {task} is due now\n")
    assert (table.row(task)["status"], table.row(task)["attempts"]) == ("pending", 0)


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (("1",), 1, "task 1 is completed; at-worker at schedules another"),
        (("99",), 1, "task 99 is not there"),
        (("99", "--dry-run"), 1, "task 99 is not there"),
        (("1", "--wait", "soon"), 2, "--wait: 'soon' is not a duration; write 30s, 5m, 2h or 7d"),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: tuple[str, ...], code: int, problem: str, table: Table, at_worker: AtWorker
) -> None:
    table.insert("email", status="completed", completed_at=LATER)
    told = at_worker("run-now", *arguments, DATABASE_URL=table.dsn)
    assert (told.exit_code, told.stdout, told.stderr) == (code, "", f"Error: {problem}\n")
