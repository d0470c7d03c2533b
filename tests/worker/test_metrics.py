"""What one parent shows at /metrics of all its worker processes."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.processes import Worker, worker
from tests.servers.tcp_proxy import RESET
from tests.tables import Table
from tests.worker.endpoint import Endpoint
from tests.worker.test_outage import Server, free_port, opened, own_server, probe, server, wait_until_down
from tests.worker.test_supervisor import until

__all__ = ["own_server", "server"]  # fixtures


class Samples:
    """One reading of /metrics."""

    def __init__(self, port: int) -> None:
        status, self.text = probe(port, "/metrics")
        assert status == 200
        self._found = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(self.text)
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float | None:
        return self._found.get((f"at_worker_{name}", frozenset(labels.items())))

    def total(self, name: str, **labels: str) -> float:
        """The sum over all series with these labels."""
        wanted = set(labels.items())
        return sum(
            value
            for (found, of), value in self._found.items()
            if found == f"at_worker_{name}" and wanted <= of
        )

    def counters(self) -> dict[object, float]:
        """What must never go down."""
        return {
            key: value
            for key, value in self._found.items()
            if key[0].endswith(("_total", "_count", "_sum", "_bucket"))
        }


class Scraped:
    """A worker and its port."""

    def __init__(self, process: Worker, port: int) -> None:
        self.process = process
        self.port = port

    def read(self) -> Samples:
        return Samples(self.port)


@pytest.fixture
def scraped(table: Table, tmp_path: Path) -> Iterator[Scraped]:
    """Two worker processes under one parent, ready."""
    port = free_port()
    options = ("--processes", "2")
    with worker(table.dsn, tmp_path, *options, METRICS_PORT=str(port), WORKER_CONCURRENCY="2") as process:
        process.wait_for_line("Successfully connected to database", 2)
        until(lambda: probe(port, "/readyz") == (200, "ok"))
        yield Scraped(process, port)


def test_who_hangs_up_before_the_answer_leaves_nothing_in_the_log(scraped: Scraped) -> None:
    client = socket.create_connection(("127.0.0.1", scraped.port), timeout=10)
    client.sendall(b"GET /metrics")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.close()
    scraped.read()
    assert scraped.process.stop() == 0
    assert "ConnectionResetError" not in scraped.process.log


def test_the_processes_are_counted_as_one_worker(scraped: Scraped, table: Table, endpoint: Endpoint) -> None:
    table.wait(table.insert("http_callback", {"url": f"{endpoint.url}/status/410"}), "failed")
    tasks = [table.insert("http_callback", {"url": f"{endpoint.url}/hold"}) for _ in range(4)]
    endpoint.wait_for(5)
    waits = table.insert("http_callback", {"url": endpoint.url}, execute_at="2020-01-01Z")
    labels = ("w-1.1", "w-1.2")
    # The one that has just ended a task may claim another ahead, and gives it back when no thread comes free.
    until(lambda: [scraped.read()("in_flight", worker=label) for label in labels] == [2, 2])
    holding = scraped.read()
    assert holding("queue_due_tasks", task_type="http_callback") == 1
    assert (holding("queue_oldest_due_seconds", task_type="http_callback") or 0) > 86_400
    endpoint.release()
    for task in (*tasks, waits):
        table.wait(task, "completed")
    until(lambda: not scraped.read().total("in_flight"))
    done = scraped.read()
    callbacks = {"task_type": "http_callback"}
    assert done("tasks_total", outcome="completed", **callbacks) == 5
    assert done("tasks_total", outcome="failed", **callbacks) == 1
    assert done("lateness_seconds_count", **callbacks) == done("run_seconds_count", **callbacks) == 6
    assert (done("run_seconds_sum", **callbacks) or 0) > 0
    assert done("claim_rows_sum") == done("settle_rows_sum") == done.total("tasks_total")
    assert done("claim_seconds_count") == done("claim_rows_count")
    assert done("queue_due_tasks", **callbacks) == 0
    assert [done("up", worker=label) for label in labels] == [1, 1]
    assert [done("threads", worker=label) for label in labels] == [2, 2]
    assert done.total("build_info") == 1


def test_no_counter_goes_down_when_a_process_dies_and_is_replaced(
    scraped: Scraped, table: Table, endpoint: Endpoint
) -> None:
    def work(count: int) -> None:
        tasks = [table.insert("http_callback", {"url": endpoint.url}) for _ in range(count)]
        for task in tasks:
            table.wait(task, "completed")

    def completed() -> float:
        return scraped.read().total("tasks_total", outcome="completed")

    work(10)
    until(lambda: completed() == 10)
    before = scraped.read().counters()
    scraped.process.signal_workers(signal.SIGKILL)
    until(lambda: scraped.read().total("process_deaths_total") == 2)
    until(lambda: scraped.read().total("up") == 2)
    after = scraped.read().counters()
    assert before.keys() == after.keys()
    assert [key for key in before if after[key] < before[key]] == []
    work(10)
    until(lambda: completed() == 20)
    # One that ends in order tells what it has counted since it was asked last.
    work(10)
    scraped.process.signal_workers(signal.SIGTERM)
    until(lambda: scraped.read().total("process_deaths_total") == 4)
    assert completed() == 30


def test_a_task_that_its_process_took_along_is_counted_as_lost(
    scraped: Scraped, table: Table, endpoint: Endpoint
) -> None:
    task = table.insert("http_callback", {"url": f"{endpoint.url}/hold"})
    endpoint.wait_for(1)
    scraped.process.signal_workers(signal.SIGKILL)
    table.wait_for_row(task, lambda row: row["attempts"] == 1)
    until(lambda: scraped.read()("tasks_total", task_type="http_callback", outcome="lost") == 1)


def test_frozen_processes_are_not_up_and_take_nothing_out_of_the_sum(scraped: Scraped, table: Table) -> None:
    table.wait(table.insert("email", {"to": "nobody"}), "failed")
    until(lambda: scraped.read().total("tasks_total", outcome="failed") == 1)
    scraped.process.signal_workers(signal.SIGSTOP)
    until(lambda: scraped.read().total("up") == 0)
    assert scraped.read().total("tasks_total", outcome="failed") == 1
    scraped.process.signal_workers(signal.SIGCONT)
    until(lambda: scraped.read().total("up") == 2)


def test_an_outage_is_counted_and_the_rest_is_told_while_it_lasts(
    server: Server, endpoint: Endpoint, tmp_path: Path
) -> None:
    port = free_port()
    with ExitStack() as stack:
        process = stack.enter_context(worker(server.dsn, tmp_path, METRICS_PORT=str(port)))
        with opened(server) as table:
            table.wait(table.insert("http_callback", {"url": endpoint.url}), "completed")
        up = Samples(port)
        assert (up("database_up", worker="w-1"), up("database_outages_total")) == (1, 0)
        server.stop()
        wait_until_down(process)
        down = Samples(port)
        assert (down("database_up", worker="w-1"), down("database_outages_total")) == (0, 1)
        assert down("tasks_total", task_type="http_callback", outcome="completed") == 1
        assert down("queue_due_tasks", task_type="http_callback") is None
        server.start()
        until(lambda: Samples(port)("queue_due_tasks", task_type="http_callback") == 0)
        until(lambda: Samples(port)("database_up", worker="w-1") == 1)


def test_types_that_anyone_invents_make_no_series(scraped: Scraped, table: Table) -> None:
    before = scraped.read().counters().keys()
    invented = [table.insert(f"invented-{number}", max_attempts=1) for number in range(20)]
    for task in invented:
        table.wait(task, "failed")
    until(lambda: scraped.read()("tasks_total", task_type="other", outcome="failed") == 20)
    table.sql(
        "INSERT INTO scheduled_tasks (task_type, execute_at) VALUES ('waits', now() + interval '1 day')"
    )
    after = scraped.read()
    assert after.counters().keys() == before
    assert "invented" not in after.text
    assert "waits" not in after.text


def test_a_process_that_shows_no_metrics_does_without_their_library() -> None:
    look = "import sys, at_worker.app, at_worker.cli; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], check=False).returncode == 0
