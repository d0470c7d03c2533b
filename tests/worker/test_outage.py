"""A worker process whose database comes late, goes away and comes back."""

import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path

import psycopg
import pytest

from at_worker import embedded
from at_worker.store import admin
from tests.processes import Worker, worker
from tests.tables import Table
from tests.worker.endpoint import Endpoint

AWAY = "Failed to connect to database: "
BACK = "Successfully connected to database"


class Server:
    """A PostgreSQL of the test's own, at an address that stays when it is stopped and started again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running = ExitStack()
        self.dsn = ""

    def start(self) -> None:
        self.dsn = self._running.enter_context(embedded.serve(self._directory))

    def stop(self) -> None:
        self._running.close()


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute(admin.ddl().encode())
    yield server
    server.stop()


@pytest.fixture
def server(own_server: Server) -> Server:
    """The server, running, with an empty table."""
    own_server.stop()
    own_server.start()
    with psycopg.connect(own_server.dsn, autocommit=True) as connection:
        connection.execute("TRUNCATE scheduled_tasks")
    return own_server


def opened(server: Server) -> AbstractContextManager[Table]:
    return closing(Table(server.dsn))


def probe(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode().strip()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode().strip()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def wait_until_down(process: Worker, times: int = 1) -> None:
    process.wait_for_line(AWAY, times)


def start_again(server: Server, process: Worker, times: int = 1) -> None:
    """Start the server; the worker is back within ten seconds, by itself."""
    server.start()
    started = time.monotonic()
    process.wait_for_line(BACK, times)
    assert time.monotonic() - started < 10


def test_a_database_that_comes_late_is_waited_for(server: Server, endpoint: Endpoint, tmp_path: Path) -> None:
    with opened(server) as table:
        task = table.insert("http_callback", {"url": endpoint.url})
    server.stop()
    with worker(server.dsn, tmp_path) as process:
        wait_until_down(process)
        start_again(server, process)
        with opened(server) as table:
            table.wait(task, "completed")
        assert process.stop() == 0
    assert process.count(AWAY) == 1
    assert "Traceback" not in process.log


def test_a_database_that_comes_late_gets_its_table(server: Server, tmp_path: Path) -> None:
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS late WITH (FORCE)")
    dsn = server.dsn.rpartition("/")[0] + "/late"
    server.stop()
    with worker(dsn, tmp_path, "--init-db") as process:
        wait_until_down(process)
        start_again(server, process)
        with closing(Table(dsn)) as table:
            assert table.insert("email")
        assert process.stop() == 0


def test_results_of_tasks_that_ended_during_an_outage_are_written_afterwards(
    server: Server, endpoint: Endpoint, tmp_path: Path
) -> None:
    with opened(server) as table:
        tasks = [table.insert("http_callback", {"url": f"{endpoint.url}/hold"}) for _ in range(3)]
    with worker(server.dsn, tmp_path) as process:
        endpoint.wait_for(3)
        server.stop()
        endpoint.release()
        wait_until_down(process)
        start_again(server, process, 2)
        with opened(server) as table:
            for task in tasks:
                done = table.wait(task, "completed")
                assert (done["attempts"], done["claim_seq"]) == (1, 1)
            later = table.insert("http_callback", {"url": f"{endpoint.url}/"})
            table.wait(later, "completed")
        assert process.stop() == 0
    assert endpoint.attempts() == dict.fromkeys([*tasks, later], 1)
    assert process.count(AWAY) == 1
    assert "Traceback" not in process.log


def test_a_worker_that_ends_during_an_outage_says_what_it_could_not_write(
    server: Server, endpoint: Endpoint, tmp_path: Path
) -> None:
    with opened(server) as table:
        task = table.insert("http_callback", {"url": f"{endpoint.url}/hold"})
    with worker(server.dsn, tmp_path) as process:
        endpoint.wait_for(1)
        server.stop()
        endpoint.release()
        wait_until_down(process)
        assert process.stop() == 0
        process.wait_for_line("1 results could not be written: their tasks will run again")
    server.start()
    with opened(server) as table:
        assert table.row(task)["status"] == "processing"


def test_a_process_that_dies_during_an_outage_gives_its_tasks_back_afterwards(
    server: Server, endpoint: Endpoint, tmp_path: Path
) -> None:
    with opened(server) as table:
        task = table.insert("http_callback", {"url": f"{endpoint.url}/hold"})
    with worker(server.dsn, tmp_path) as process:
        endpoint.wait_for(1)
        server.stop()
        wait_until_down(process)
        process.signal_workers(signal.SIGKILL)
        wait_until_down(process, 2)
        endpoint.release()
        start_again(server, process, 2)
        with opened(server) as table:
            assert table.wait(task, "completed")["attempts"] == 2
        assert process.stop() == 0
    assert endpoint.attempts() == {task: 2}
    assert "Traceback" not in process.log


def test_ready_means_that_claims_work_and_healthy_does_not_need_the_database(
    server: Server, tmp_path: Path
) -> None:
    port = free_port()
    server.stop()
    with worker(server.dsn, tmp_path, METRICS_PORT=str(port), WORKER_POLLING_INTERVAL="0.2") as process:
        wait_until_down(process)
        assert probe(port, "/healthz") == (200, "ok")
        assert probe(port, "/readyz") == (503, "w-1: the database does not answer")
        start_again(server, process)
        with closing(Table(server.dsn)) as table:  # another loop may have been first; the next claim works
            table.wait_for(lambda: probe(port, "/readyz") == (200, "ok") or None)
        assert probe(port, "/elsewhere") == (404, "try /healthz, /readyz, /metrics")
        server.stop()
        wait_until_down(process, 2)
        assert probe(port, "/healthz") == (200, "ok")
        assert probe(port, "/readyz")[0] == 503
        assert process.stop() == 0
    server.start()


def test_a_worker_that_waits_for_its_table_is_not_ready(empty_dsn: str, tmp_path: Path) -> None:
    port = free_port()
    with worker(empty_dsn, tmp_path, METRICS_PORT=str(port)) as process:
        wait_until_down(process)
        assert probe(port, "/healthz") == (200, "ok")
        assert probe(port, "/readyz")[0] == 503


def test_a_worker_that_finishes_its_tasks_is_still_healthy(
    table: Table, endpoint: Endpoint, tmp_path: Path
) -> None:
    port = free_port()
    table.insert("http_callback", {"url": f"{endpoint.url}/hold"})
    with worker(table.dsn, tmp_path, METRICS_PORT=str(port)) as process:
        endpoint.wait_for(1)
        process.signal(signal.SIGTERM)
        process.wait_for_line("initiating graceful shutdown...")
        assert probe(port, "/healthz") == (200, "ok")
        endpoint.release()
        assert process.wait() == 0


def test_connections_that_are_cut_cost_nothing(table: Table, endpoint: Endpoint, tmp_path: Path) -> None:
    task = table.insert("http_callback", {"url": f"{endpoint.url}/hold"})
    with worker(table.dsn, tmp_path, WORKER_POLLING_INTERVAL="0.2") as process:
        endpoint.wait_for(1)
        table.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        endpoint.release()
        assert table.wait(task, "completed")["attempts"] == 1
        assert process.stop() == 0
    assert "Traceback" not in process.log
